//! The commands that processes of OTP and Elixir handle, by the form of their messages.

use super::{
    super::{io_request::Cursor, term::Token},
    UNKNOWN,
};

/// Tags of messages that `gen_server`, `sys`, `supervisor`, `gen_event`, `code_server`, `dets`, `disk_log`, Elixir's
/// compiler and the VM itself handle. A link's `'EXIT'` and a monitor's `'DOWN'` are no messages of this kind.
pub(super) const COMMANDS: [&str; 30] = [
    "system",
    "$gen_call",
    "$gen_cast",
    "$gen_event",
    "$gen_sync_event",
    "$gen_all_state_event",
    "$gen_sync_all_state_event",
    "$socket",
    "EXIT",
    "DOWN",
    "notify",
    "sync_notify",
    "code_call",
    "command",
    "remote",
    "try_again_restart",
    "apply_after",
    "apply_interval",
    "$gen_restart",
    "$dets_call",
    "disk_log",
    "module_available",
    "file_ok",
    "file_error",
    "waiting",
    "driver_id",
    "file_request",
    "epp_request",
    "shell_state",
    "file_cancel",
];

/// Tags of messages that `IEx` and the shell of Erlang handle. The second element is a process.
pub(super) const OF_A_SHELL: [&str; 14] = [
    "eval",
    "evaled",
    "continue",
    "done",
    "input",
    "take_over",
    "respawn",
    "fields_from_env",
    "value_from_binding",
    "variables_from_binding",
    "shell_cmd",
    "shell_req",
    "shell_rep",
    "shell_eval",
];
/// Of `erts_code_purger`, by the size of the tuple.
pub(super) const PURGES: [(&str, u32); 5] = [
    ("purge", 4),
    ("soft_purge", 4),
    ("test_purge", 5),
    ("finish_after_on_load", 4),
    ("change_prio", 4),
];
/// `{From, {Command, …}}`, by the size of the inner tuple: of `rpc`, `erl_prim_loader`, `user_drv`, `disk_log`, `qlc` and
/// `zip`.
pub(super) const ASKED: [(&str, u32); 28] = [
    ("call", 5),
    ("sbcast", 3),
    ("send", 3),
    ("set_path", 2),
    ("get_file", 2),
    ("read_file", 2),
    ("read_file_info", 2),
    ("read_link_info", 2),
    ("get_cwd", 2),
    ("get_modules", 2),
    ("set_primary_archive", 5),
    ("list_dir", 2),
    ("open_editor", 2),
    ("put_chars", 3),
    ("put_chars_sync", 4),
    ("put_chars_keep_state", 3),
    ("put_expand", 3),
    ("insert_chars", 3),
    ("insert_chars_over", 3),
    ("requests", 2),
    ("change_header", 2),
    ("change_notify", 3),
    ("change_size", 2),
    ("internal_open", 2),
    ("reopen", 5),
    ("truncate", 4),
    ("parent_fun", 2),
    ("open", 3),
];
/// `{From, Command}`, of `disk_log`.
pub(super) const ASKED_ALONE: [&str; 2] = ["inc_wrap_file", "next_file"];
/// The second element, of `heart` and `net_kernel`.
pub(super) const SECOND: [&str; 4] = ["set_cmd", "set_callback", "set_options", "registered_send"];
/// Of `gen_event` and Elixir's `GenEvent`.
pub(super) const EVENT_COMMANDS: [&str; 15] = [
    "add_handler",
    "add_sup_handler",
    "delete_handler",
    "swap_handler",
    "swap_sup_handler",
    "add_mon_handler",
    "add_process_handler",
    "swap_mon_handler",
    "call",
    "sync_notify",
    "ack_notify",
    "notify",
    "which_handlers",
    "get_modules",
    "stop",
];

/// A command behind a sender, which can be any term. If the sender is larger than what is looked at, it might be one.
pub(super) fn command(arity: u32, bytes: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(bytes.get(1..).unwrap_or_default());
    let _tuple = cursor.item();
    match arity {
        2 => asked(cursor),
        3 => second(cursor).or_else(|| event_command(cursor)),
        4 => second(cursor),
        _ => None,
    }
}

fn asked(mut cursor: Cursor) -> Option<String> {
    if cursor.term().is_none() {
        return Some(UNKNOWN.into());
    }
    let (arity, command) = match cursor.peek() {
        Some(Token::Tuple(arity)) => {
            let _tuple = cursor.item();
            (arity, cursor.peek())
        }
        token => (0, token),
    };
    command_of(command, |name| {
        let handled = |(asked, size): &(&str, u32)| *size == arity && name == *asked;
        (arity == 0 && ASKED_ALONE.contains(&name)) || ASKED.iter().any(handled)
    })
}

fn second(mut cursor: Cursor) -> Option<String> {
    if cursor.term().is_none() {
        return Some(UNKNOWN.into());
    }
    command_of(cursor.peek(), |name| SECOND.contains(&name))
}

/// `token`: where the command would be.
fn command_of(token: Option<Token>, handled: impl Fn(&str) -> bool) -> Option<String> {
    match token {
        None => Some(UNKNOWN.into()),
        Some(Token::Atom(command)) => Some(command.text()).filter(|name| handled(name)),
        Some(_) => None,
    }
}

/// `{From, Tag, Command}`: what `gen_event` handles, whatever the first two are.
fn event_command(mut cursor: Cursor) -> Option<String> {
    if cursor.term().is_none() || cursor.term().is_none() {
        return Some(UNKNOWN.into());
    }
    if let Some(Token::Tuple(1..)) = cursor.peek() {
        let _tuple = cursor.item();
    }
    command_of(cursor.peek(), |name| EVENT_COMMANDS.contains(&name))
}
