//! Messages that the pod sends to aliases of local processes.

use super::{
    super::{
        capabilities::{Alias, Role},
        control::Control,
        payload::{Payload, payload},
        refusal::Kind,
        term::Token,
    },
    Local, NO_ANSWER, Verdict, refuse,
};

impl Local<'_> {
    pub(super) fn alias_send(&mut self, control: &Control) -> Verdict {
        match control.token(2) {
            Some(Token::Reference(reference)) if self.is_own(&reference.node) => {
                let message = payload(control.payload.unwrap_or_default());
                let alias = Alias::from(reference);
                let of_server = self.is_of_server(&alias);
                self.send_to_alias(&alias, of_server, &message)
            }
            // The answer to a call that has timed out, as a rule; the VM has forgotten the alias, too.
            _ => Verdict::Ignore,
        }
    }

    /// The VM removes the monitor of a call with the first message to its alias, whatever that says: then the caller
    /// would wait for ever.
    fn send_to_alias(&mut self, alias: &Alias, of_server: bool, message: &Payload) -> Verdict {
        let role = self.given.alias(alias, self.now);
        match (role, message) {
            (None, _) => Verdict::Ignore,
            (Some(Role::Caller), Payload::Reply { to, tag, is_command })
                if self.is_own(&to.node)
                    && Alias::from(*to) == *alias
                    && self.is_tag_of_pod(tag)
                    && !(of_server && *is_command) =>
            {
                Verdict::Pass
            }
            (Some(Role::Caller), Payload::Message | Payload::Reply { .. } | Payload::Late(_)) => {
                refuse(Kind::Message, NO_ANSWER)
            }
            (Some(Role::Caller), message) => self.to_caller(message),
            (_, Payload::Reply { to, is_command: true, .. }) if Alias::from(*to) != *alias => {
                refuse(Kind::Message, "a command")
            }
            (_, message) => self.message(message),
        }
    }

    /// Whether it is the alias of a call by a process of OTP or Elixir.
    fn is_of_server(&mut self, alias: &Alias) -> bool {
        let monitor = self.given.monitor(alias, self.now);
        self.printer.is_some() && monitor.is_some_and(|it| self.session.is_server(&it.owner))
    }
}
