//! Which connections are redirected.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

mod support;

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        socket::{
            AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, connect, getpeername,
            socket,
        },
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};
use support::{
    EPMD, IPV6, MAPPED, NODE, OTHER_POD, greeter, greeting, read, under_runner, under_runner_with,
    words,
};

#[test]
fn targets_of_all_kinds() {
    under_runner("targets_of_all_kinds", || {
        for target in [EPMD, NODE, OTHER_POD, IPV6] {
            assert_eq!(greeting(target), Ok(target.into()));
        }
        assert_eq!(greeting(MAPPED), Ok(EPMD.into()));
        let peer = TcpStream::connect(MAPPED).unwrap().peer_addr().unwrap();
        assert!(peer.to_string().starts_with("[::ffff:127.0.0.1]:"), "{peer}");
    });
}

#[test]
fn everything_else_is_untouched() {
    under_runner("everything_else_is_untouched", || {
        // The address with another port, another address.
        assert_eq!(greeting("127.77.0.1:14370"), Err(libc::ECONNREFUSED));
        assert_eq!(greeting("127.77.0.3:14369"), Err(libc::ECONNREFUSED));
        let elsewhere = greeter("127.77.0.3:0", "elsewhere").to_string();
        assert_eq!(greeting(&elsewhere), Ok("elsewhere".into()));
        // UDP to a redirected address.
        let server = UdpSocket::bind(EPMD).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(EPMD).unwrap();
        client.send(b"udp").unwrap();
        let mut bytes = [0; 10];
        assert_eq!(server.recv(&mut bytes).unwrap(), 3);
        // A socket that is not an internet socket, and a descriptor that is not a socket.
        let path = std::os::unix::net::UnixStream::connect("/nowhere").unwrap_err();
        assert_eq!(path.kind(), ErrorKind::NotFound);
        let address = SockaddrIn::from("127.77.0.1:14369".parse::<SocketAddrV4>().unwrap());
        assert_eq!(connect(99, &address), Err(nix::errno::Errno::EBADF));
        assert_eq!(connect(0, &address), Err(nix::errno::Errno::ENOTSOCK));
    });
}

#[test]
fn threads_and_grandchildren() {
    under_runner("threads_and_grandchildren", || {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                thread::spawn(|| (0..50).for_each(|_| assert_eq!(greeting(EPMD), Ok(EPMD.into()))))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let line = "(exec 3<> /dev/tcp/127.77.0.1/5555; cat <&3) & wait";
        let output = Command::new("bash").args(["-c", line]).output().unwrap();
        assert_eq!(words(&output), NODE);
    });
}

/// A thread with its own descriptor table.
#[test]
fn a_thread_with_descriptors_of_its_own() {
    under_runner("a_thread_with_descriptors_of_its_own", || {
        let alone = || {
            // SAFETY: numbers only.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            // Shifts the numbers, so that they differ from those of the other threads.
            let _more: Vec<_> = (0..20).map(|_| std::fs::File::open("/").unwrap()).collect();
            greeting(EPMD)
        };
        let result = thread::spawn(alone).join().unwrap();
        // Before Linux 6.9, the supervisor cannot read the table of the thread.
        assert!([Ok(EPMD.into()), Err(libc::EBADF)].contains(&result), "{result:?}");
    });
}

#[test]
fn sockets_that_do_not_wait() {
    under_runner("sockets_that_do_not_wait", || {
        for (target, name) in [(EPMD, EPMD), (IPV6, IPV6), (MAPPED, EPMD)] {
            let socket = begin(target.parse().unwrap());
            let mut polled = [PollFd::new(std::os::fd::AsFd::as_fd(&socket), PollFlags::POLLOUT)];
            assert_eq!(poll(&mut polled, PollTimeout::from(10_000_u16)).unwrap(), 1);
            let stream = TcpStream::from(socket);
            stream.set_nonblocking(false).unwrap();
            assert_eq!(read(stream), name);
        }
    });
}

fn begin(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
    let result = match address {
        SocketAddr::V4(address) => connect(socket.as_raw_fd(), &SockaddrIn::from(address)),
        SocketAddr::V6(address) => connect(socket.as_raw_fd(), &SockaddrIn6::from(address)),
    };
    assert!(matches!(result, Ok(()) | Err(nix::errno::Errno::EINPROGRESS)), "{result:?}");
    socket
}

#[test]
fn mptcp() {
    under_runner("mptcp", || {
        // SAFETY: numbers only.
        let number = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) };
        if number < 0 {
            return; // a kernel without MPTCP
        }
        // SAFETY: the kernel has just created it.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        let address: SocketAddrV4 = EPMD.parse().unwrap();
        connect(socket.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
        assert_eq!(read(socket.into()), EPMD);
    });
}

/// A call that waits for a full listener must not block the other calls.
#[test]
fn a_full_listener_does_not_block_other_calls() {
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::listen(full.as_raw_fd(), 0) }, 0);
    let redirect = format!("127.77.0.9:14369={}", full.local_addr().unwrap().port());
    under_runner_with(
        "a_full_listener_does_not_block_other_calls",
        |command| {
            let mut again = Command::new(support::RUNNER);
            again.arg(redirect).args(command.get_args());
            for (name, value) in command.get_envs() {
                again.env(name, value.unwrap());
            }
            *command = again;
        },
        || {
            for _ in 0..6 {
                thread::spawn(|| greeting("127.77.0.9:14369"));
            }
            let start = Instant::now();
            for _ in 0..50 {
                assert_eq!(greeting(EPMD), Ok(EPMD.into()));
            }
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        },
    );
}

/// The kernel may read the address before or after the change. The address that was checked must be
/// the one that is connected.
#[test]
fn an_address_that_changes_meanwhile() {
    under_runner("an_address_that_changes_meanwhile", || {
        let other = greeter("127.77.0.8:14369", "other");
        greeter(EPMD, "direct");
        let (target, other) = (in_memory(EPMD.parse().unwrap()), in_memory(other));
        let address = Arc::new([AtomicU64::new(target), AtomicU64::new(0)]);
        let (flipped, stop) = (address.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let attacker = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                flipped[0].store(other, Ordering::Relaxed);
                flipped[0].store(target, Ordering::Relaxed);
            }
        });
        let mut seen = [0_u32; 3];
        for _ in 0..10_000 {
            let socket =
                socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
            let pointer = address.as_ptr().cast();
            // SAFETY: 16 bytes, the size of `struct sockaddr_in`. Another thread changes them on
            // purpose.
            let result = unsafe { libc::connect(socket.as_raw_fd(), pointer, 16) };
            assert_eq!(result, 0, "{}", io::Error::last_os_error());
            let peer: SockaddrIn = getpeername(socket.as_raw_fd()).unwrap();
            // The greeting must be that of the peer's address.
            let (at, name) = match peer.ip().octets() {
                [127, 0, 0, 1] => (0, EPMD),
                [127, 77, 0, 8] => (1, "other"),
                [127, 77, 0, 1] => (2, "direct"),
                elsewhere => panic!("connected to {elsewhere:?}"),
            };
            assert_eq!(read(socket.into()), name);
            seen[at] += 1;
        }
        stop.store(true, Ordering::Relaxed);
        attacker.join().unwrap();
        assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    });
}

/// The first half of a `struct sockaddr_in`, without the padding.
fn in_memory(address: SocketAddr) -> u64 {
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&u16::try_from(libc::AF_INET).unwrap().to_ne_bytes());
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    bytes[4..].copy_from_slice(&address.ip().octets());
    u64::from_ne_bytes(bytes)
}

#[test]
fn signals_interrupt_nothing() {
    under_runner("signals_interrupt_nothing", under_signals);
}

/// As before Linux 5.19.
#[test]
fn signals_interrupt_nothing_on_an_old_kernel() {
    under_runner_with(
        "signals_interrupt_nothing_on_an_old_kernel",
        |command| support::deny(command, support::Denied::KillableWait),
        under_signals,
    );
}

/// The Go runtime sends hundreds of signals per second to preempt goroutines.
fn under_signals() {
    extern "C" fn handle(_signal: i32) {}
    let interval = libc::timeval { tv_sec: 0, tv_usec: 100 };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the handler does nothing, and all pointers outlive their calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as extern "C" fn(i32) as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()), 0);
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()), 0);
    }
    for _ in 0..2000 {
        assert_eq!(greeting(EPMD), Ok(EPMD.into()));
    }
}

/// A caller that is killed during its call must not stop the answers to the other calls.
#[test]
fn killed_callers_stop_no_other() {
    under_runner("killed_callers_stop_no_other", || {
        let until = Instant::now() + Duration::from_secs(4);
        let mut kills = 0_u32;
        while Instant::now() < until {
            let children: Vec<_> = (0..4).map(|_| connecting_child()).collect();
            // Nothing is awaited: each kill has its own moment.
            thread::sleep(Duration::from_micros(u64::from(kills * 37 % 3000)));
            for child in children {
                kill(child, Signal::SIGKILL).unwrap();
                waitpid(child, None).unwrap();
                kills += 1;
            }
            assert_eq!(greeting("127.0.0.1:1"), Err(libc::ECONNREFUSED), "after {kills} kills");
        }
    });
}

/// A child that repeatedly connects to a port without a listener.
fn connecting_child() -> Pid {
    let address = SockaddrIn::from("127.0.0.1:1".parse::<SocketAddrV4>().unwrap());
    // SAFETY: the child only makes system calls.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => loop {
            // SAFETY: numbers only.
            let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
            let _ = connect(socket, &address);
            // SAFETY: nothing else uses the descriptor.
            unsafe { libc::close(socket) };
        },
    }
}
