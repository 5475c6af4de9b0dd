//! A socket to the kernel. Every request is answered before the next one is made; an answer to
//! an earlier one is passed over, and a kernel that does not answer is an error, not a wait.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::sys::{
    socket::{
        self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
    },
    time::TimeVal,
};

use crate::message::{self, Messages, Reply};

const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The kernel answers within the call; this is for one that never does.
const PATIENCE: TimeVal = TimeVal::new(2, 0);
/// Larger than any datagram the kernel makes.
const DATAGRAM: usize = 64 * 1024;

/// What part of the kernel to talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Devices, addresses and routes.
    Route,
    /// Packet filters.
    Netfilter,
    /// Sockets.
    SockDiag,
}

/// An open socket. What it may do is decided by the capabilities at its opening and at each request.
pub struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket that no child inherits.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(family: Family) -> io::Result<Self> {
        Self::subscribed(family, 0)
    }

    /// As [`Socket::open`], and what the kernel tells these groups comes by itself; see
    /// [`Socket::news`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn subscribed(family: Family, groups: u32) -> io::Result<Self> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
            Family::SockDiag => SockProtocol::NetlinkSockDiag,
        };
        let descriptor = socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        socket::bind(descriptor.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        socket::setsockopt(&descriptor, sockopt::ReceiveTimeout, &PATIENCE)?;
        Ok(Self { descriptor, sequence: 0, buffer: vec![0; DATAGRAM] })
    }

    /// The number that the kernel knows this socket by.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn port(&self) -> io::Result<u32> {
        Ok(socket::getsockname::<NetlinkAddr>(self.descriptor.as_raw_fd())?.pid())
    }

    /// Takes all that has come by itself, without waiting; answers whether any of it was caused by
    /// somebody else than the socket `own`. What was lost counts as that.
    pub fn news(&mut self, own: u32) -> bool {
        let mut others = false;
        loop {
            let descriptor = self.descriptor.as_raw_fd();
            match socket::recv(descriptor, &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    let datagram = self.buffer.get(..length).unwrap_or_default();
                    others |= message::replies(datagram).any(|reply| reply.port != own);
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::ENOBUFS) => others = true,
                Err(_) => return others,
            }
        }
    }

    /// A number for a request.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends messages whose last one, numbered `last`, asks for an acknowledgement, and waits for
    /// that; `first` is the number of the first of them.
    ///
    /// # Errors
    /// The first error that the kernel reports.
    pub fn transact(&mut self, messages: &Messages, first: u32, last: u32) -> io::Result<()> {
        self.send(messages)?;
        loop {
            let datagram = self.receive()?;
            for reply in message::replies(datagram) {
                if reply.kind == ERROR && (first..=last).contains(&reply.sequence) {
                    check(&reply)?;
                    if reply.sequence == last {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Sends a request that has one answer.
    ///
    /// # Errors
    /// What the kernel says instead.
    pub fn ask<T>(
        &mut self,
        messages: &Messages,
        read: impl Fn(&Reply) -> Option<T>,
    ) -> io::Result<T> {
        self.send(messages)?;
        let sequence = self.sequence;
        loop {
            for reply in message::replies(self.receive()?) {
                if reply.sequence != sequence {
                    continue;
                }
                if reply.kind == ERROR {
                    check(&reply)?;
                }
                return read(&reply).ok_or_else(unreadable);
            }
        }
    }

    /// Sends a request for a list, and gives each of its messages to `each`.
    ///
    /// # Errors
    /// What the kernel says instead.
    pub fn dump(&mut self, messages: &Messages, mut each: impl FnMut(&Reply)) -> io::Result<()> {
        self.send(messages)?;
        let sequence = self.sequence;
        loop {
            for reply in message::replies(self.receive()?) {
                match reply.kind {
                    _ if reply.sequence != sequence => {}
                    DONE => return Ok(()),
                    ERROR => check(&reply)?,
                    _ => each(&reply),
                }
            }
        }
    }

    fn send(&self, messages: &Messages) -> io::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        let descriptor = self.descriptor.as_raw_fd();
        socket::sendto(descriptor, messages.bytes(), &kernel, MsgFlags::empty())?;
        Ok(())
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        loop {
            let descriptor = self.descriptor.as_raw_fd();
            let (length, sender) = socket::recvfrom::<NetlinkAddr>(descriptor, &mut self.buffer)?;
            // Only the kernel has the number 0.
            if sender.is_some_and(|sender| sender.pid() == 0) {
                return self.buffer.get(..length).ok_or_else(unreadable);
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// An acknowledgement is an error of the number 0.
fn check(reply: &Reply) -> io::Result<()> {
    match message::u32_at(reply.body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(-number)),
        None => Err(unreadable()),
    }
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer cannot be read")
}
