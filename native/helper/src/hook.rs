//! The programs attached to the user's slice, and their map of redirects.
//!
//! Only descriptors of this process refer to them, so the kernel frees them when the helper exits
//! for any reason.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use k8s_connect_wire::{MAX_REDIRECTS, Redirect, Refusal};

use crate::{
    bpf::{
        assembler::assemble,
        btf::Btf,
        offsets::Offsets,
        program::{self, Family, KEY_SIZE, LICENSE, Purpose, VALUE_SIZE},
    },
    caller::Caller,
    cgroup::{Slice, attach_refusal},
    refusal::kernel,
    sys::{self, Cookie},
};

/// `BPF_CGROUP_INET4_CONNECT` and `BPF_CGROUP_INET6_CONNECT`
const ATTACH_TYPES: [u32; 2] = [10, 11];

/// The attached programs.
pub struct Hook {
    map: OwnedFd,
    _links: [OwnedFd; 2],
    /// The contents of the map: destinations and their listeners.
    targets: BTreeMap<SocketAddr, Listener>,
}

/// A listener of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Its port.
    pub via: u16,
    /// Its socket's cookie.
    pub cookie: u64,
}

impl Hook {
    /// Loads the programs and attaches them to the user's slice. Requires the capabilities.
    ///
    /// # Errors
    /// The refusal.
    pub fn attach(caller: &Caller, slice: &Slice, offsets: &Offsets) -> Result<Self, Refusal> {
        let map = sys::create_map(KEY_SIZE, VALUE_SIZE, entries(), c"kc_targets")
            .map_err(no_bpf("creating the map"))?;
        let netns = network_namespace()?;
        let load = |family, attach_type, name| {
            let (uid, gid, map) = (caller.uid, caller.gid, map.as_raw_fd());
            let purpose = Purpose { family, uid, gid, netns, map };
            let instructions = assemble(&program::connect(&purpose, offsets)).unwrap_or_default();
            sys::load_program(&instructions, LICENSE, attach_type, name)
                .map_err(no_bpf("loading the program"))
        };
        let [v4, v6] = ATTACH_TYPES;
        // Before attaching, because the user can stop this process and start more helpers. After
        // attaching, because an admin can attach a program in between.
        slice.check(ATTACH_TYPES)?;
        let programs =
            [load(Family::V4, v4, c"kc_connect4")?, load(Family::V6, v6, c"kc_connect6")?];
        let link = |program, attach_type| {
            sys::create_link(program, slice.directory().as_fd(), attach_type)
                .map_err(|error| attach_refusal(&error, slice))
        };
        let links = [link(&programs[0], v4)?, link(&programs[1], v6)?];
        slice.check(ATTACH_TYPES)?;
        Ok(Self { map, _links: links, targets: BTreeMap::new() })
    }

    /// Replaces all targets. Each change is atomic. The whole set is not, because targets are
    /// independent of each other.
    ///
    /// # Errors
    /// [`Refusal::Kernel`]
    pub fn set(&mut self, targets: &BTreeMap<SocketAddr, Listener>) -> Result<(), Refusal> {
        let gone: Vec<_> =
            self.targets.keys().filter(|to| !targets.contains_key(to)).copied().collect();
        for to in gone {
            sys::delete_element(&self.map, &program::key(to))
                .map_err(kernel("deleting a redirect"))?;
            self.targets.remove(&to);
        }
        for (to, listener) in targets {
            if self.targets.get(to) != Some(listener) {
                let value = program::value(listener.cookie, listener.via);
                sys::update_element(&self.map, &program::key(*to), &value)
                    .map_err(kernel("adding a redirect"))?;
                self.targets.insert(*to, *listener);
            }
        }
        Ok(())
    }

    /// The current redirects.
    #[must_use]
    pub fn redirects(&self) -> Vec<Redirect> {
        self.targets.iter().map(|(to, listener)| Redirect { to: *to, via: listener.via }).collect()
    }
}

/// The structure offsets of the running kernel.
///
/// # Errors
/// [`Refusal::NoBtf`]
pub fn offsets() -> Result<Offsets, Refusal> {
    Offsets::find(&Btf::of_kernel()?)
}

fn network_namespace() -> Result<u64, Refusal> {
    // Any socket can be asked for the cookie of its namespace.
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(kernel("opening a socket"))?;
    // Requires Linux 5.14.
    sys::cookie(socket.as_fd(), Cookie::NetworkNamespace)
        .map_err(no_bpf("reading the cookie of the network namespace"))
}

fn entries() -> u32 {
    u32::try_from(MAX_REDIRECTS).unwrap_or(u32::MAX)
}

fn no_bpf(step: &'static str) -> impl Fn(std::io::Error) -> Refusal {
    move |error| Refusal::NoBpf { step: step.into(), problem: error.to_string() }
}
