//! What is counted of each request, by the route that it matched.
//!
//! Labels are bounded: whatever leads nowhere is the route `other`, as is a method that HTTP does not know.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::{
    extract::MatchedPath,
    http::{Method, Request, Response, StatusCode},
};
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

/// Says what is counted here.
pub fn describe_metrics() {
    describe_counter!(
        "afforo_http_requests_total",
        "Requests, by how they were answered; 499 if the client did not wait for it."
    );
    describe_histogram!(
        "afforo_http_request_duration_seconds",
        "From the head of a request to the head of its answer."
    );
    describe_gauge!(
        "afforo_http_requests_in_flight",
        "Requests that are being answered."
    );
}

/// The methods that have a label of their own; all others share the last.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];

/// The label of a path that leads nowhere.
const NO_ROUTE: &str = "other";

/// nginx' status for a client that left before the answer.
const CLIENT_LEFT: u16 = 499;

/// Layer that counts the requests of all routes that it is around.
#[derive(Clone)]
pub(super) struct Measure {
    routes: Arc<RwLock<HashMap<String, Arc<OfRoute>>>>,
    in_flight: Gauge,
}

/// The metrics of one route. They are kept: to find one by its labels takes several times as long as to count.
struct OfRoute {
    route: String,
    of_method: [OfMethod; METHODS.len()],
}

#[derive(Default)]
struct OfMethod {
    duration: OnceLock<Histogram>,
    by_status: RwLock<Vec<(u16, Counter)>>,
}

impl Measure {
    pub(super) fn new() -> Self {
        Self {
            routes: Arc::default(),
            in_flight: gauge!("afforo_http_requests_in_flight"),
        }
    }

    fn begin<B>(&self, request: &Request<B>) -> UnderWay {
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or(NO_ROUTE, MatchedPath::as_str);
        self.in_flight.increment(1.0);
        UnderWay {
            route: self.of(route),
            method: index(request.method()),
            began: Instant::now(),
            status: CLIENT_LEFT,
            in_flight: self.in_flight.clone(),
        }
    }

    /// There are as many as the server has routes.
    fn of(&self, route: &str) -> Arc<OfRoute> {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(route) {
            return known.clone();
        }
        drop(known);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(OfRoute {
                route: route.to_owned(),
                of_method: Default::default(),
            })
        };
        routes.entry(route.to_owned()).or_insert_with(new).clone()
    }
}

impl OfRoute {
    fn duration(&self, method: usize) -> &Histogram {
        self.of_method[method].duration.get_or_init(
            || histogram!("afforo_http_request_duration_seconds", "method" => METHODS[method], "route" => self.route.clone()),
        )
    }

    fn count(&self, method: usize, status: u16) {
        let by_status = &self.of_method[method].by_status;
        let known = by_status.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = known.iter().find(|(known, _)| *known == status) {
            counter.increment(1);
            return;
        }
        drop(known);
        // Twice in the list does no harm: both are the one counter of these labels.
        let counter = counter!(
            "afforo_http_requests_total",
            "method" => METHODS[method], "route" => self.route.clone(), "status" => status.to_string()
        );
        counter.increment(1);
        by_status
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push((status, counter));
    }
}

fn index(method: &Method) -> usize {
    let others = METHODS.len() - 1;
    METHODS[..others]
        .iter()
        .position(|known| *known == method.as_str())
        .unwrap_or(others)
}

/// A request that is being answered. It is counted when this is dropped, so also where the client left.
struct UnderWay {
    route: Arc<OfRoute>,
    method: usize,
    began: Instant,
    status: u16,
    in_flight: Gauge,
}

impl UnderWay {
    fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.in_flight.decrement(1.0);
        self.route.duration(self.method).record(self.began.elapsed());
        self.route.count(self.method, self.status);
    }
}

impl<S> Layer<S> for Measure {
    type Service = Measuring<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Measuring {
            inner,
            measure: self.clone(),
        }
    }
}

/// The middleware that [`Measure`] makes.
#[derive(Clone)]
pub(super) struct Measuring<S> {
    inner: S,
    measure: Measure,
}

impl<S, B, R> Service<Request<B>> for Measuring<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Measured<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let under_way = self.measure.begin(&request);
        Measured {
            answer: self.inner.call(request),
            under_way: Some(under_way),
        }
    }
}

pin_project! {
    /// An answer to come.
    pub(super) struct Measured<F> {
        #[pin]
        answer: F,
        under_way: Option<UnderWay>,
    }
}

impl<F, R, E> Future for Measured<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        if let (Some(mut under_way), Ok(response)) = (this.under_way.take(), &answer) {
            under_way.answered(response.status());
        }
        Poll::Ready(answer)
    }
}
