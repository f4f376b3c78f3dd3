//! An upstream as it is on a bad day: 429, 500, answers that stall, that come late, or break off.

use super::action::weighted;
use super::world::World;
use anyhow::Result;
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;
use testkit::sample_upstream::Answer;
use tokio::time::sleep;

/// A kind of bad answer.
#[derive(Clone, Copy, Debug)]
enum Bad {
    TooMany,
    Error,
    Unavailable,
    Late,
    Stalls,
    BreaksOff,
}

const ALL: [(Bad, u32); 6] = [
    (Bad::TooMany, 1),
    (Bad::Error, 6),
    (Bad::Unavailable, 3),
    (Bad::Late, 6),
    (Bad::Stalls, 2),
    (Bad::BreaksOff, 4),
];

/// Misbehaves until the chaos stops; then everything that stalls goes on, and all is well.
pub(super) async fn misbehave(world: &World<'_>) -> Result<()> {
    let mut random = world.random("upstream");
    while !world.stop.is_cancelled() {
        sleep(Duration::from_millis(random.random_range(50..400))).await;
        let times = random.random_range(1..4);
        world.upstream.script_times(|_asked| true, answer(&mut random), times);
        world.tally.misbehaved(times);
        if random.random_bool(0.1) {
            world.upstream.release();
        }
    }
    world.upstream.clear_scripts();
    world.upstream.release();
    Ok(())
}

fn answer(random: &mut StdRng) -> Answer {
    match weighted(&ALL, random) {
        Bad::TooMany => Answer::retry_after(429, "1"),
        Bad::Error => Answer::status(500),
        Bad::Unavailable => Answer::status(503),
        Bad::Late => Answer::After(Duration::from_millis(random.random_range(300..2500))),
        Bad::Stalls => Answer::Stall,
        Bad::BreaksOff => Answer::Truncate,
    }
}
