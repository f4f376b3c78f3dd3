//! Limits of a connection.

use super::connection::of_tenant;
use crate::context::Context;
use crate::failure::Failure;
use clap::Args;
use serde_json::json;
use std::str::FromStr;
use store::limits::ConnectionLimits;

/// What is to be limited.
#[derive(Debug, Args)]
pub(crate) struct LimitConnection {
    /// The connection's name or identifier
    connection: String,
    /// The tenant's name or identifier
    #[arg(long)]
    tenant: String,
    /// Pages in flight at a time, or none [default: as it is]
    #[arg(long, value_name = "NUMBER", value_parser = limit::<i32>, required_unless_present = "requests_per_second")]
    pages_in_flight: Option<Limit<i32>>,
    /// Requests per second, or none [default: as it is]
    #[arg(long, value_name = "NUMBER", value_parser = limit::<f32>)]
    requests_per_second: Option<Limit<f32>>,
}

/// A limit, or that there is to be none.
#[derive(Clone, Copy, Debug)]
enum Limit<T> {
    No,
    Of(T),
}

impl<T: Copy> Limit<T> {
    const fn or(given: Option<Self>, kept: Option<T>) -> Option<T> {
        match given {
            None => kept,
            Some(Self::No) => None,
            Some(Self::Of(limit)) => Some(limit),
        }
    }
}

fn limit<T: FromStr + PartialOrd + From<i8>>(given: &str) -> Result<Limit<T>, String> {
    match given.parse() {
        Ok(number) if number > T::from(0) => Ok(Limit::Of(number)),
        Err(_no_number) if given == "none" => Ok(Limit::No),
        Ok(_) | Err(_) => Err("expected a number above 0, or none".to_owned()),
    }
}

pub(super) async fn run(context: &Context, given: LimitConnection) -> Result<(), Failure> {
    let store = context.store()?;
    let tenant = context.tenant(&store, &given.tenant).await?;
    let connection = of_tenant(&store, &tenant, &given.connection).await?;
    let limits = ConnectionLimits {
        pages_in_flight: Limit::or(given.pages_in_flight, connection.max_pages_in_flight),
        requests_per_second: Limit::or(given.requests_per_second, connection.requests_per_second),
    };
    store.connections().set_limits(tenant.id, connection.id, limits).await?;
    let told = json!({
        "id": connection.id, "name": connection.name, "max_pages_in_flight": limits.pages_in_flight,
        "requests_per_second": limits.requests_per_second,
    });
    context.output.either(&told, || {
        let (id, name) = (connection.id, &connection.name);
        match shown(&limits) {
            none if none.is_empty() => {
                format!("connection {id}  {}/{name} has no limits of its own", tenant.name)
            }
            limits => {
                format!("connection {id}  {}/{name} is limited to {limits}, over all consumers", tenant.name)
            }
        }
    })
}

/// Limits in words; empty without any.
pub(super) fn shown(limits: &ConnectionLimits) -> String {
    let pages = limits.pages_in_flight.map(|pages| format!("{pages} in flight"));
    let requests = limits.requests_per_second.map(|requests| format!("{requests} per second"));
    pages.into_iter().chain(requests).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_above_0_or_none() {
        assert!(matches!(limit::<i32>("3"), Ok(Limit::Of(3))));
        assert!(matches!(limit::<f32>("none"), Ok(Limit::No)));
        for wrong in ["0", "-1", "", "many", "NaN"] {
            assert!(limit::<f32>(wrong).is_err(), "{wrong}");
        }
        assert!(limit::<i32>("0.5").is_err());
    }
}
