//! What the kernel runs for the helper: [`program`]s from a small [`assembler`], with the
//! [`offsets`] that the running kernel's [`btf`] gives.
//!
//! Not aya or libbpf: both load object files, which takes clang or bpf-linker to build, and bring a
//! hundred times this code into a program that holds a capability.

pub mod assembler;
pub mod btf;
pub mod offsets;
pub mod program;
