//! PKCS#11 modules: the embedded one (kryoptic), or any by path.
