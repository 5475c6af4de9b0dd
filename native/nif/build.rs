//! Linker flags of the library.

fn main() {
    // The library's own threads outlive a `:code.purge/1` of the Elixir module. Without this the
    // VM would unmap the code under their feet.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
