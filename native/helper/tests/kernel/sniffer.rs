//! Detects TCP packets to or from the pod.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};

use crate::sys;

/// `ETH_P_ALL`
const EVERYTHING: u16 = 3;
const TCP: u8 = 6;
const POD4: &[u8] = &[10, 9, 0, 2];
const POD6: &[u8] = &[0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// Captures packets on all interfaces of the laptop, from its creation on.
pub struct Sniffer(OwnedFd);

impl Sniffer {
    pub fn new() -> Self {
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
        let protocol = i32::from(EVERYTHING.to_be());
        let socket = sys::socket(libc::AF_PACKET, kind, protocol).expect("running as root");
        let room = 64 << 20;
        let option = libc::SO_RCVBUFFORCE;
        sys::set_option(socket.as_fd(), libc::SOL_SOCKET, option, room).expect("running as root");
        Self(socket)
    }

    /// The number of packets since the last call.
    pub fn count(&self) -> usize {
        let mut packet = [0; 2048];
        let mut found = 0;
        loop {
            match recv(self.0.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Ok(length) => found += usize::from(is_pods(&packet[..length])),
                Err(Errno::EAGAIN) => return found,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn is_pods(packet: &[u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet[9] == TCP && (&packet[12..16] == POD4 || &packet[16..20] == POD4),
        Some(6) => packet[6] == TCP && (&packet[8..24] == POD6 || &packet[24..40] == POD6),
        _ => false,
    }
}
