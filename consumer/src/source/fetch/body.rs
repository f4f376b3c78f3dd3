//! Reads a body up to a limit, within the process's byte budget.
//!
//! Every slot owns a small share of the budget. A body that outgrows it takes a permit before it reads on; a permit
//! stands for the rest of the largest page, so a holder never has to wait for a second one, and no two pages can wait
//! for each other.

use std::sync::Arc;

use reqwest::Response;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::{FetchConfig, explain};
use crate::source::{FetchError, Reservation};

pub(super) async fn read(
    mut response: Response,
    config: &FetchConfig,
    large_pages: &Arc<Semaphore>,
    deadline: Instant,
) -> Result<(Vec<u8>, Reservation), FetchError> {
    let (small, max) = (config.small_page_bytes, config.max_page_bytes);
    // A compressed body has no known length; then this is 0.
    let announced = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    if announced > max {
        return Err(too_large(max));
    }
    let mut reservation = Reservation::default();
    if announced > small {
        reservation = reserve(large_pages, deadline).await?;
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) =
        response.chunk().await.map_err(|error| explain("the answer's body broke off", error))?
    {
        let size = body.len() + chunk.len();
        if size > max {
            return Err(too_large(max));
        }
        if size > small && !reservation.is_large() {
            reservation = reserve(large_pages, deadline).await?;
        }
        if size > body.capacity() {
            // Doubling, as a Vec does by itself, would go beyond what is reserved.
            let target = (body.capacity() * 2).clamp(size, max);
            body.reserve_exact(target - body.len());
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, reservation))
}

async fn reserve(large_pages: &Arc<Semaphore>, deadline: Instant) -> Result<Reservation, FetchError> {
    match timeout_at(deadline, Arc::clone(large_pages).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit.into()),
        Ok(Err(_closed)) => Err(FetchError::transient("the process is shutting down")),
        Err(_elapsed) => {
            Err(FetchError::transient("the byte budget of the process was used up by other pages"))
        }
    }
}

fn too_large(max: usize) -> FetchError {
    FetchError::permanent(format!(
        "page of more than {max} bytes: use a smaller page size, or raise max_page_bytes"
    ))
}
