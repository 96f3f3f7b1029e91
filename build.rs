//! The embedded module is driven like any other: by its exported C_GetFunctionList. An executable exports nothing unless
//! the linker is told to; only this one symbol, so that no library loaded later finds our other ones.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_EMBEDDED").is_some() {
        // Apple's linker has no such word; there a library names where it takes a symbol from, so that exporting all does no harm.
        let apple = std::env::var("CARGO_CFG_TARGET_VENDOR").is_ok_and(|vendor| vendor == "apple");
        let argument = if apple {
            "-Wl,-export_dynamic"
        } else {
            "-Wl,--export-dynamic-symbol=C_GetFunctionList"
        };
        println!("cargo:rustc-link-arg={argument}");
    }
}
