//! The backend's contract, on the reference, the embedded module and SoftHSM alike; and what only a store on disk can show.

#[cfg(feature = "embedded")]
#[path = "backend_contract/backups.rs"]
mod backups;
#[path = "backend_contract/contract.rs"]
mod contract;
#[path = "backend_contract/softhsm.rs"]
mod softhsm;
#[path = "softhsm/mod.rs"]
mod softhsm_module;
#[path = "backend_contract/states.rs"]
mod states;
#[cfg(feature = "embedded")]
#[path = "backend_contract/store.rs"]
mod store;

/// Each test of the contract, on each backend.
macro_rules! on_all {
    ($($test:ident),* $(,)?) => {
        mod memory {
            use managed_hsm_operator::backend::memory::MemoryBackend;
            $(#[test] fn $test() { super::contract::$test(&MemoryBackend::new()); })*
        }
        #[cfg(feature = "embedded")]
        mod kryoptic {
            $(#[test] fn $test() { super::contract::$test(super::store::shared()); })*
        }
        /// For the module that a process of its own drives.
        pub const CONTRACT: &[(&str, fn(&dyn managed_hsm_operator::backend::HsmBackend))] =
            &[$((stringify!($test), contract::$test)),*];
    };
}

on_all!(
    a_token_is_made_once,
    a_token_is_found_by_label_and_serial_together,
    what_is_not_there_is_said_to_be_not_there,
    a_pending_key_refuses_use_until_it_is_published,
    rsa_keys_come_back_the_same,
    p256_keys_come_back_the_same,
    p384_keys_come_back_the_same,
    p521_keys_come_back_the_same,
    aes_keys_of_every_size_come_back_the_same,
    a_sealed_key_refuses_every_use_and_is_proved_all_the_same,
    a_dead_handle_stays_dead,
    two_copies_stand_side_by_side,
    two_generations_make_two_keys,
    ec_keys_refuse_to_encrypt,
    a_sealed_token_refuses_everything_and_comes_back_whole,
    sealing_reaches_other_threads,
    a_token_is_sealed_and_unsealed_as_often_as_one_likes,
    a_sealed_token_is_emptied_and_released,
    a_token_with_keys_is_not_released,
    the_inventory_shows_every_key,
    the_ledger_compares_and_swaps,
    a_long_record_is_kept_whole,
    a_lost_record_is_restored_only_where_there_is_none,
    every_token_of_ours_is_listed,
    of_many_writers_of_one_generation_one_wins,
    the_revision_never_falls,
);
