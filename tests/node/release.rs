//! The operator installed and at work.

use crate::house::House;

pub async fn life(house: &House) {
    house.install();
    println!("{}", house.kubectl("get pods -A -o wide").await);
}
