//! The BPF [`program`]s of the helper, a small [`assembler`], and the [`offsets`] from the kernel's
//! [`btf`].
//!
//! Not aya or libbpf: both load object files, which need clang or bpf-linker to build, and add a
//! hundred times this code to a privileged program.

pub mod assembler;
pub mod btf;
pub mod offsets;
pub mod program;
