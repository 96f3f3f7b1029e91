//! The operator on a real node, installed by the real Helm: `make e2e-node`. Each story has a node of its own, in namespaces of its own,
//! and the machine is compared before and after. Elsewhere than there this is skipped: it needs root, and a while.

#[path = "node/house.rs"]
mod house;
#[path = "node/machine.rs"]
mod machine;
#[path = "node/release.rs"]
mod release;

use house::on_a_node;

#[test]
fn hsms_and_keys_live_on_a_node() {
    on_a_node("hsms_and_keys_live_on_a_node", release::life);
}
