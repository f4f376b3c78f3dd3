//! What every process has beside its work: logs and metrics, a listener with health, readiness and metrics, and somebody who
//! watches whether the database fits.

pub mod fitness;
pub mod health;
mod read_on;
pub mod serve;
pub mod telemetry;
