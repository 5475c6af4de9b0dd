//! Where the running kernel keeps what decides whose a process and a socket are.

use k8s_connect_wire::Refusal;

use super::btf::Btf;

/// Offsets in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Offsets {
    /// `task_struct.cred`: the credentials that the kernel checks now.
    pub cred: i16,
    /// `task_struct.real_cred`: the process's own.
    pub real_cred: i16,
    /// `cred.uid`, `euid`, `suid`, `fsuid`
    pub uids: [i16; 4],
    /// `cred.gid`, `egid`, `sgid`, `fsgid`
    pub gids: [i16; 4],
    /// `cred.cap_permitted`
    pub cap_permitted: i16,
    /// `cred.user_ns`
    pub user_ns: i16,
    /// Of user namespaces.
    pub namespace: Namespace,
    /// Of a process's memory.
    pub dumpable: Dumpable,
    /// `sock.sk_uid`
    pub sk_uid: i16,
    /// `sock_common.skc_cookie`
    pub skc_cookie: i16,
    /// `sock_common.skc_state`
    pub skc_state: i16,
}

/// Of `user_namespace`.
#[derive(Debug, Clone, Copy)]
pub struct Namespace {
    /// 0 for the initial one.
    pub level: i16,
    /// Who has created it.
    pub owner: i16,
    /// The one in which it was created.
    pub parent: i16,
}

/// Where `PR_SET_DUMPABLE` is kept.
#[derive(Debug, Clone, Copy)]
pub struct Dumpable {
    /// In `task_struct`, the pointer to what has the next two.
    pub holder: i16,
    /// Its flag or flags; see [`Dumpable::mask`].
    pub flag: i16,
    /// The user namespace that was current when the program was executed.
    pub user_ns: i16,
    /// The bits of the flag. They are 1 where its user may trace the process.
    pub mask: i32,
}

/// `MMF_DUMPABLE_MASK`
const MMF_DUMPABLE_MASK: i32 = 3;

impl Offsets {
    /// Finds all of them.
    ///
    /// # Errors
    /// [`Refusal::NoBtf`], with the first that is missing.
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
            skc_cookie: common.offset("skc_cookie")?,
            skc_state: common.offset("skc_state")?,
        })
    }
}

impl Dumpable {
    /// Linux 7.2 has moved it from `mm_struct`, whose flags are still there without it.
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
