//! Equal reads that are asked for at the same time are one request. Many keys share an HSM and a namespace: each look at a key reads those live too.
//!
//! A request is shared only by those who asked before it began. So to each of them the answer is as live as one of its own: it shows all that was
//! there when he asked, or what came after.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use kube::Client;
use kube::client::Body;
use tokio::sync::oneshot;

/// After it nobody waits for another's request any more, but sends his own.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same client, whose equal reads are joined.
pub fn joined(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let reads = Reads {
        client,
        under_way: Arc::default(),
    };
    let service = tower::service_fn(move |request| {
        let reads = reads.clone();
        async move { reads.send(request).await }
    });
    Client::new(service, namespace)
}

/// What makes two reads equal.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    uri: Uri,
    accept: Option<HeaderValue>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

type Asker = oneshot::Sender<Result<Answer, Option<kube::Error>>>;

#[derive(Clone)]
struct Reads {
    client: Client,
    /// The questions that a request is under way for, each with those who asked since it began.
    under_way: Arc<Mutex<HashMap<Question, Vec<Asker>>>>,
}

impl Reads {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let Some(question) = Question::of(&request) else {
            return self.client.send(request).await;
        };
        let answer = self.ask(question);
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer.into()),
            Ok(Ok(Err(Some(error)))) => Err(error),
            // Another's request failed, hangs, or ended without a word: it says nothing of ours.
            Ok(Ok(Err(None)) | Err(_)) | Err(_) => self.client.send(request).await,
        }
    }

    fn ask(&self, question: Question) -> oneshot::Receiver<Result<Answer, Option<kube::Error>>> {
        let (asker, answer) = oneshot::channel();
        let mut under_way = self.lock();
        match under_way.get_mut(&question) {
            Some(waiting) => waiting.push(asker),
            None => {
                under_way.insert(question.clone(), Vec::new());
                // A task of its own: whoever asked may go away, and others wait for it.
                tokio::spawn(self.clone().answer(question, asker));
            }
        }
        answer
    }

    /// One request after another, for as long as somebody asks.
    async fn answer(self, question: Question, first: Asker) {
        let mut askers = vec![first];
        while !askers.is_empty() {
            match self.once(&question).await {
                Ok(answer) => {
                    for asker in askers {
                        asker.send(Ok(answer.clone())).ok();
                    }
                }
                Err(error) => {
                    let mut error = Some(error);
                    for asker in askers {
                        asker.send(Err(error.take())).ok();
                    }
                }
            }
            askers = self.next(&question);
        }
    }

    /// Those who asked since the last request began. Empty: the question is closed, and who asks next opens it again.
    fn next(&self, question: &Question) -> Vec<Asker> {
        let mut under_way = self.lock();
        let waiting = under_way.get_mut(question).map(std::mem::take);
        let waiting = waiting.unwrap_or_default();
        if waiting.is_empty() {
            under_way.remove(question);
        }
        waiting
    }

    async fn once(&self, question: &Question) -> Result<Answer, kube::Error> {
        let request = Request::get(question.uri.clone());
        let request = match &question.accept {
            Some(accept) => request.header(header::ACCEPT, accept),
            None => request,
        };
        let request = request
            .body(Body::empty())
            .map_err(kube::Error::HttpError)?;
        let (parts, body) = self.client.send(request).await?.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect_bytes().await?.to_vec(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Vec<Asker>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// None: it is no read, or one that doesn't end by itself.
    fn of(request: &Request<Body>) -> Option<Self> {
        let query = request.uri().query().unwrap_or_default();
        let watches = query.split('&').any(|part| part.starts_with("watch="));
        (request.method() == Method::GET && !watches).then(|| Self {
            uri: request.uri().clone(),
            accept: request.headers().get(header::ACCEPT).cloned(),
        })
    }
}

impl From<Answer> for Response<Body> {
    fn from(answer: Answer) -> Self {
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use tokio::sync::Semaphore;
    use tower::BoxError;

    use super::*;

    /// A server that numbers what it is sent, and answers one request for each permit.
    #[derive(Clone)]
    struct Server {
        sent: Arc<AtomicU32>,
        permits: Arc<Semaphore>,
    }

    impl Server {
        fn new(permits: usize) -> Self {
            Self {
                sent: Arc::default(),
                permits: Arc::new(Semaphore::new(permits)),
            }
        }

        /// The request of each number in `fails` fails.
        fn client(&self, fails: &'static [u32]) -> Client {
            let server = self.clone();
            let service = tower::service_fn(move |_: Request<Body>| {
                let number = server.sent.fetch_add(1, Ordering::SeqCst) + 1;
                let permits = Arc::clone(&server.permits);
                async move {
                    permits.acquire().await?.forget();
                    if fails.contains(&number) {
                        return Err(BoxError::from("no way"));
                    }
                    Ok(Response::new(Body::from(number.to_string().into_bytes())))
                }
            });
            joined(Client::new(service, "default"))
        }

        async fn has(&self, sent: u32) {
            while self.sent.load(Ordering::SeqCst) < sent {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn asked(client: &Client, request: http::request::Builder) -> Result<String, String> {
        let request = request.body(Body::empty()).expect("a request");
        let answer = client.send(request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let body = answer.into_body().collect_bytes().await.expect("a body");
        Ok(String::from_utf8(body.to_vec()).expect("a number"))
    }

    async fn get(client: &Client, uri: &str) -> Result<String, String> {
        asked(client, Request::get(uri)).await
    }

    fn spawned(
        client: &Client,
        uri: &'static str,
    ) -> tokio::task::JoinHandle<Result<String, String>> {
        let client = client.clone();
        tokio::spawn(async move { get(&client, uri).await })
    }

    /// Lets everything run that can.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_asks_while_a_request_is_under_way_shares_the_next_and_never_that_one() {
        let server = Server::new(0);
        let client = server.client(&[]);
        let first = spawned(&client, "/a");
        server.has(1).await;
        let later: Vec<_> = (0..5).map(|_| spawned(&client, "/a")).collect();
        settle().await;
        assert_eq!(server.sent.load(Ordering::SeqCst), 1);

        server.permits.add_permits(10);
        assert_eq!(first.await.expect("ended"), Ok("1".into()));
        for answer in join_all(later).await {
            assert_eq!(answer.expect("ended"), Ok("2".into()));
        }
        assert_eq!(get(&client, "/a").await, Ok("3".into()), "nothing is kept");
    }

    #[tokio::test]
    async fn other_questions_writes_and_watches_are_requests_of_their_own() {
        let server = Server::new(0);
        let client = server.client(&[]);
        let requests = [
            Request::get("/a"),
            Request::get("/b"),
            Request::get("/a?limit=1"),
            Request::get("/a").header(header::ACCEPT, "application/json;as=PartialObjectMetadata"),
            Request::get("/a?watch=true"),
            Request::get("/a?watch=true"),
            Request::delete("/a"),
            Request::delete("/a"),
        ];
        let all = requests.map(|request| {
            let client = client.clone();
            tokio::spawn(async move { asked(&client, request).await })
        });
        server.has(8).await;
        server.permits.add_permits(8);
        let answers = join_all(all).await;
        let mut numbers: Vec<_> = answers.into_iter().map(|it| it.expect("ended")).collect();
        numbers.sort();
        let each: Vec<_> = (1..=8).map(|number: u32| Ok(number.to_string())).collect();
        assert_eq!(numbers, each);
    }

    #[tokio::test]
    async fn of_a_request_that_fails_one_gets_the_error_and_the_others_ask_themselves() {
        let server = Server::new(0);
        let client = server.client(&[2]);
        let first = spawned(&client, "/a");
        server.has(1).await;
        let later: Vec<_> = (0..3).map(|_| spawned(&client, "/a")).collect();
        settle().await;
        server.permits.add_permits(10);
        assert_eq!(first.await.expect("ended"), Ok("1".into()));
        let answers = join_all(later).await;
        let answers: Vec<_> = answers.into_iter().map(|it| it.expect("ended")).collect();
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(failed, 1, "{answers:?}");
        assert_eq!(server.sent.load(Ordering::SeqCst), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_hangs_holds_up_nobody_else_for_long() {
        let server = Server::new(0);
        let client = server.client(&[]);
        let first = spawned(&client, "/a");
        server.has(1).await;
        let later = spawned(&client, "/a");
        tokio::time::sleep(PATIENCE * 2).await;
        assert!(!first.is_finished() && !later.is_finished());
        // The one that hangs, and one of each who had no patience any more.
        assert_eq!(server.sent.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn who_asked_first_may_go_away() {
        let server = Server::new(0);
        let client = server.client(&[]);
        let first = spawned(&client, "/a");
        server.has(1).await;
        let later = spawned(&client, "/a");
        settle().await;
        first.abort();
        server.permits.add_permits(10);
        assert_eq!(later.await.expect("ended"), Ok("2".into()));
    }
}
