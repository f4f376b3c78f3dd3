//! A deploy without end: the consumers and producers are replaced one by one, under load.

use super::seat::Seat;
use super::world::World;
use anyhow::Result;
use rand::RngExt;
use std::time::Duration;
use tokio::time::Instant;

const ROLLED: &str = "producer rolled";

/// Replaces one after the other, until the chaos stops.
pub(super) async fn roll(world: &World<'_>, seats: &mut [Seat]) -> Result<()> {
    let mut random = world.random("deploy");
    loop {
        for seat in &mut *seats {
            world.rest(Duration::from_millis(random.random_range(1_000..4_000))).await;
            if world.stop.is_cancelled() {
                return Ok(());
            }
            seat.roll(world).await?;
        }
        for number in 0..world.producers.len() {
            world.rest(Duration::from_millis(random.random_range(1_000..4_000))).await;
            if world.stop.is_cancelled() {
                return Ok(());
            }
            world.tally.fault(ROLLED);
            let began = Instant::now();
            match world.programs.lock().await[number].roll(world.stage).await {
                Ok(()) => world.tally.recovered(ROLLED, Some(began.elapsed())),
                Err(error) => world.tally.problem(format!("{error:#}")),
            }
        }
    }
}
