//! Offsets of the kernel structures that identify the owner of a process and of a socket.

use k8s_connect_wire::Refusal;

use super::btf::Btf;

/// Offsets in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Offsets {
    /// `task_struct.cred`: the subjective credentials, used for permission checks.
    pub cred: i16,
    /// `task_struct.real_cred`: the objective credentials of the process.
    pub real_cred: i16,
    /// `cred.uid`, `euid`, `suid`, `fsuid`
    pub uids: [i16; 4],
    /// `cred.gid`, `egid`, `sgid`, `fsgid`
    pub gids: [i16; 4],
    /// `cred.cap_permitted`
    pub cap_permitted: i16,
    /// `cred.user_ns`
    pub user_ns: i16,
    /// Offsets in `user_namespace`.
    pub namespace: Namespace,
    /// Offsets of the dumpable flag.
    pub dumpable: Dumpable,
    /// `sock.sk_uid`
    pub sk_uid: i16,
    /// `sock.sk_ack_backlog` and `sk_max_ack_backlog`: length and limit of the accept queue.
    pub queue: [i16; 2],
    /// `sock_common.skc_cookie`
    pub skc_cookie: i16,
    /// `sock_common.skc_state`
    pub skc_state: i16,
}

/// Offsets in `user_namespace`.
#[derive(Debug, Clone, Copy)]
pub struct Namespace {
    /// Nesting level, 0 for the initial namespace.
    pub level: i16,
    /// The user who created it.
    pub owner: i16,
    /// The parent namespace.
    pub parent: i16,
}

/// The location of the dumpable flag (`PR_SET_DUMPABLE`).
#[derive(Debug, Clone, Copy)]
pub struct Dumpable {
    /// In `task_struct`: the pointer to the structure with the next two members.
    pub holder: i16,
    /// The flag, or the flags that contain it, see [`Dumpable::mask`].
    pub flag: i16,
    /// The user namespace at the time of `execve`.
    pub user_ns: i16,
    /// The mask of the flag. The masked value is 1 if the user may trace the process.
    pub mask: i32,
}

/// `MMF_DUMPABLE_MASK`
const MMF_DUMPABLE_MASK: i32 = 3;

impl Offsets {
    /// Reads all offsets.
    ///
    /// # Errors
    /// [`Refusal::NoBtf`] with the first missing member.
    pub fn find(btf: &Btf) -> Result<Self, Refusal> {
        let (task, cred) = (btf.structure("task_struct")?, btf.structure("cred")?);
        let (namespace, sock) = (btf.structure("user_namespace")?, btf.structure("sock")?);
        let common = btf.structure("sock_common")?;
        Ok(Self {
            cred: task.offset("cred")?,
            real_cred: task.offset("real_cred")?,
            uids: [
                cred.offset("uid")?,
                cred.offset("euid")?,
                cred.offset("suid")?,
                cred.offset("fsuid")?,
            ],
            gids: [
                cred.offset("gid")?,
                cred.offset("egid")?,
                cred.offset("sgid")?,
                cred.offset("fsgid")?,
            ],
            cap_permitted: cred.offset("cap_permitted")?,
            user_ns: cred.offset("user_ns")?,
            namespace: Namespace {
                level: namespace.offset("level")?,
                owner: namespace.offset("owner")?,
                parent: namespace.offset("parent")?,
            },
            dumpable: Dumpable::find(btf)?,
            sk_uid: sock.offset("sk_uid")?,
            queue: [sock.offset("sk_ack_backlog")?, sock.offset("sk_max_ack_backlog")?],
            skc_cookie: common.offset("skc_cookie")?,
            skc_state: common.offset("skc_state")?,
        })
    }
}

impl Dumpable {
    /// Linux 7.2 moved the flag from `mm_struct` to `task_exec_state`.
    fn find(btf: &Btf) -> Result<Self, Refusal> {
        let task = btf.structure("task_struct")?;
        if let Ok(state) = btf.structure("task_exec_state") {
            return Ok(Self {
                holder: task.offset_of_pointer("task_exec_state")?,
                flag: state.offset("dumpable")?,
                user_ns: state.offset("user_ns")?,
                mask: -1,
            });
        }
        let memory = btf.structure("mm_struct")?;
        Ok(Self {
            holder: task.offset("mm")?,
            flag: memory.offset("flags")?,
            user_ns: memory.offset("user_ns")?,
            mask: MMF_DUMPABLE_MASK,
        })
    }
}
