//! The embedded module is driven like any other: by its exported C_GetFunctionList. An executable exports nothing unless
//! the linker is told to; only this one symbol, so that no library loaded later finds our other ones.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_EMBEDDED").is_some() {
        println!("cargo:rustc-link-arg=-Wl,--export-dynamic-symbol=C_GetFunctionList");
    }
}
