//! I/O requests that the pod sends to local processes.

use super::{
    super::{
        encode::{atom, tuple},
        io_request::{printed_by, prints},
        payload::Payload,
        refusal::{Kind, Refusal},
    },
    Local, NO_ANSWER, Verdict, message_to, refuse,
};

impl Local<'_> {
    pub(super) fn printed(&self, request: &[u8]) -> Verdict {
        let Some(module) = self.printer.filter(|_| prints(request)) else { return Verdict::Pass };
        // What is not understood is not printed.
        printed_by(module, request)
            .map_or_else(|| refuse(Kind::IoRequest, "put_chars"), Verdict::Rewrite)
    }

    /// A mere caller does not serve I/O requests.
    pub(super) fn to_caller(&self, message: &Payload) -> Verdict {
        match message {
            Payload::IoRequest { from, reply_as, .. } => {
                self.refused_request(from, reply_as, NO_ANSWER)
            }
            other => self.message(other),
        }
    }

    /// The process in the pod gets an error, instead of waiting.
    pub(super) fn refused_request(&self, from: &[u8], reply_as: &[u8], detail: &str) -> Verdict {
        // A process here or in another pod would get an answer to what it has not asked.
        if !self.is_of_pod(from) {
            return refuse(Kind::IoRequest, "for another process");
        }
        let error = tuple(&[atom("error"), atom("request")]);
        let reply = tuple(&[atom("io_reply"), reply_as.to_vec(), error]);
        Verdict::Answer(message_to(from, &reply), Some(Refusal::new(Kind::IoRequest, detail)))
    }
}
