//! An upstream that does what a test says: a list in memory, and one function that answers.

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request, as an answering function sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How many requests came before it.
    pub nth: usize,
    /// Its path.
    pub path: String,
    /// Its query parameters.
    pub query: HashMap<String, String>,
}

impl Asked {
    /// A parameter as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<usize> {
        self.query.get(name)?.parse().ok()
    }

    /// A parameter as a time.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<DateTime<Utc>> {
        self.query.get(name)?.parse().ok()
    }
}

/// The upstream.
#[derive(Debug)]
pub struct Scripted {
    /// Where it is.
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: JoinHandle<()>,
}

impl Scripted {
    /// Answers every request as this function says.
    pub async fn start(
        answer: impl Fn(Asked) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        let app = Router::new().fallback(move |request: Request| {
            let query = request.uri().query().unwrap_or_default();
            let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let mut all = lock(&log);
            let asked = Asked { nth: all.len(), path: request.uri().path().to_owned(), query };
            all.push(asked.clone());
            drop(all);
            answer(asked)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the scripted upstream ended");
            }
        });
        Ok(Self { url, asked, server })
    }

    /// As [`Self::start`], for a function that does not wait.
    pub async fn answering<R: IntoResponse>(
        answer: impl Fn(&Asked) -> R + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        Self::start(move |asked| {
            let response = answer(&asked).into_response();
            Box::pin(async move { response })
        })
        .await
    }

    /// Every request so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A list of records that a test changes while it is read. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct List(Arc<Mutex<Vec<Item>>>);

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// When it was created, or last touched: what the list is filtered by.
    pub time: DateTime<Utc>,
    /// What it says.
    pub text: String,
}

impl Item {
    /// As the upstream shows it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "id": self.id, "created_at": self.time, "text": self.text })
    }
}

impl List {
    /// So many records, `r001` and so on, one an hour from this moment.
    #[must_use]
    pub fn hourly(records: usize, from: DateTime<Utc>) -> Self {
        let hours = |number: usize| TimeDelta::hours(i64::try_from(number).unwrap_or_default());
        let item = |number| Item {
            id: format!("r{:03}", number + 1),
            time: from + hours(number),
            text: "first".to_owned(),
        };
        Self(Arc::new(Mutex::new((0..records).map(item).collect())))
    }

    /// Changes the list.
    pub fn change<R>(&self, change: impl FnOnce(&mut Vec<Item>) -> R) -> R {
        change(&mut lock(&self.0))
    }

    /// Those in a span: from a moment on, before another one.
    #[must_use]
    pub fn between(&self, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Vec<Item> {
        let inside =
            |item: &&Item| from.is_none_or(|from| from <= item.time) && to.is_none_or(|to| item.time < to);
        lock(&self.0).iter().filter(inside).cloned().collect()
    }

    /// The part that parameters `page` (from 1) or `offset`, `limit`, `from` and `to` ask for, and how many there are in the
    /// span.
    #[must_use]
    pub fn part(&self, asked: &Asked) -> (Vec<Item>, usize) {
        let all = self.between(asked.time("from"), asked.time("to"));
        let limit = asked.number("limit").unwrap_or(100);
        let page = asked.number("page").unwrap_or(1).max(1);
        let offset = asked.number("offset").unwrap_or((page - 1) * limit);
        let total = all.len();
        (all.into_iter().skip(offset).take(limit).collect(), total)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records as the answer `{"data": […]}` with more members.
pub fn page(items: &[Item], more: Value) -> axum::Json<Value> {
    let mut answer = json!({ "data": items.iter().map(Item::json).collect::<Vec<_>>() });
    if let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), more) {
        answer.extend(more);
    }
    axum::Json(answer)
}
