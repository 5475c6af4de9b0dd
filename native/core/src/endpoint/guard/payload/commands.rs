//! The commands that processes of OTP and Elixir handle, by the form of their messages.

use super::super::{io_request::Cursor, term::Token};

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

/// What is behind a sender, which can be any term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Command(String),
    /// What decides has not arrived.
    Nothing,
}

/// Whether a tuple of this size is a command if this atom is its element number `element`, from 1, or, with `inner`, the
/// first element of the tuple of that size there.
pub(super) fn is_command(arity: u32, element: u32, inner: Option<u32>, name: &str) -> bool {
    match (arity, element, inner) {
        (2, 2, None) => ASKED_ALONE.contains(&name),
        (2, 2, Some(size)) => ASKED.contains(&(name, size)),
        (3 | 4, 2, None) => SECOND.contains(&name),
        // What `gen_event` handles, whatever the first two are
        (3, 3, _) => EVENT_COMMANDS.contains(&name),
        _ => false,
    }
}

/// A command behind a sender, in a tuple of this size.
pub(super) fn command(arity: u32, bytes: &[u8]) -> Option<Found> {
    let mut cursor = Cursor::new(bytes.get(1..).unwrap_or_default());
    let _tuple = cursor.item();
    let last = match arity {
        2 | 3 => arity,
        4 => 2,
        _ => return None,
    };
    for element in 1..=last {
        let (mut head, mut inner) = (cursor, None);
        if let Some(Token::Tuple(size @ 1..)) = head.peek() {
            let _tuple = head.item();
            inner = Some(size);
        }
        match head.peek() {
            None => return Some(Found::Nothing),
            Some(Token::Atom(name)) if is_command(arity, element, inner, &name.text()) => {
                return Some(Found::Command(name.text()));
            }
            Some(_) => {}
        }
        if element < last && cursor.term().is_none() {
            return Some(Found::Nothing);
        }
    }
    None
}
