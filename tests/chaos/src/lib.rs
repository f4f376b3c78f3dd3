//! Chaos: consumers and producers as processes, tenants that start and cancel jobs all the time, an upstream that
//! misbehaves, and faults of every kind, chosen by a seed. At the end the faults stop, every job must come to an end,
//! and nothing may be lost, counted twice or left behind.
//!
//! A new command of tenants is a variant of `action::Action`; a new fault is one of `fault::Fault`.

mod action;
mod cluster;
mod customer;
mod fault;
mod ledger;
mod misbehaviour;
mod post;
mod producers;
pub mod random_upstreams;
mod roll;
mod score;
mod seat;
mod servers;
mod tally;
mod world;

pub use score::Scoreboard;
pub use servers::Harmed;

use anyhow::{Context, Result};
use benchmarks::{about, say};
use customer::Customer;
use futures::future::try_join_all;
use roll::roll;
use seat::Seat;
use stage::Stage;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use world::World;

/// All jobs must have ended, and all commands been applied, so long after the last fault.
const ENDS_WITHIN: Duration = Duration::from_secs(90);
/// Between two lines about progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What is to be wreaked.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides the faults and what tenants do; not when exactly things happen.
    pub seed: u64,
    /// The longest time of faults.
    pub lasts: Duration,
    /// Ends earlier, after so many SIGKILLs.
    pub kills: u64,
    /// Consumers.
    pub consumers: usize,
    /// Producers.
    pub producers: usize,
    /// Connections of tenants.
    pub connections: usize,
}

/// Wreaks it, and says what came of it.
///
/// # Errors
/// When something cannot be set up. What the faults brought about is in the scoreboard.
pub async fn wreak(stage: &Stage, plan: Plan, harmed: Harmed<'_>) -> Result<Scoreboard> {
    let about = about(stage).await?;
    let world = Box::pin(World::create(stage, plan)).await?;
    let mut seats = Vec::new();
    for number in 0..plan.consumers {
        seats.push(Seat::take(&world, number).await?);
    }
    let mut customers: Vec<_> = (0..plan.connections).map(|number| Customer::new(&world, number)).collect();
    say(format_args!(
        "seed {}: {} consumers, {} producers, {} connections; logs in {}",
        plan.seed,
        plan.consumers,
        plan.producers,
        plan.connections,
        stage.logs.display()
    ));
    let began = Instant::now();
    let end = async {
        while began.elapsed() < plan.lasts && world.tally.kills() < plan.kills {
            sleep(Duration::from_millis(100)).await;
        }
        world.stop.cancel();
    };
    // What a cluster goes through is enough; the programs are only replaced, as at a deploy.
    let rolls = matches!(harmed, Harmed::Cluster(_));
    let wreaked = async {
        tokio::try_join!(
            async {
                end.await;
                Ok(())
            },
            async {
                if rolls {
                    roll(&world, &mut seats).await
                } else {
                    try_join_all(seats.iter_mut().map(|seat| seat.be_hit(&world))).await.map(drop)
                }
            },
            try_join_all(customers.iter_mut().map(|customer| customer.trade(&world))),
            servers::harm(&world, harmed),
            misbehaviour::misbehave(&world),
        )
    };
    tokio::select! {
        wreaked = wreaked => drop(wreaked?),
        () = lines(&world, began) => {}
    }
    let lasted = began.elapsed();
    say(format_args!("{:6.1} s  the faults have stopped; every job must end", lasted.as_secs_f64()));
    stage.renew_sessions().await;
    for seat in &mut seats {
        seat.recover(&world).await?;
    }
    let calm = timeout(ENDS_WITHIN, async {
        for customer in &mut customers {
            customer.calm(&world).await?;
        }
        world.until_quiet().await
    });
    match calm.await {
        Ok(calm) => calm?,
        Err(_elapsed) => {
            world.tally.problem(format!("not everything has ended, or been applied, after {ENDS_WITHIN:?}"));
        }
    }
    let ended = began.elapsed() - lasted;
    let mut board = Box::pin(Scoreboard::draw(&world, plan, about, lasted, ended)).await?;
    say("once more, in peace: every connection is pulled to its end");
    let last =
        timeout(ENDS_WITHIN, try_join_all(customers.iter_mut().map(|customer| customer.pull_all(&world))));
    if last.await.is_err() {
        board.problem("a job in peace does not end".to_owned());
    }
    board.finish(&world).await.context("the last look failed")?;
    for seat in &mut seats {
        seat.leave(&world).await?;
    }
    Ok(board)
}

async fn lines(world: &World<'_>, began: Instant) {
    loop {
        sleep(LINE_EVERY).await;
        say(format_args!("{:6.1} s  {}", began.elapsed().as_secs_f64(), world.tally));
    }
}
