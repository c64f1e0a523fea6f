//! Streams guarded beyond their opening.

use std::pin::Pin;
use std::time::Duration;

use fusebox::{Registry, State};
use fusebox_resilient::{Deadline, Reason, Resilience, resilient};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use tokio::time::{Instant, sleep};

use crate::support::*;

const MS: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Text(&'static str),
    Stop,
}

fn is_stop(token: &Token) -> bool {
    *token == Token::Stop
}

type Item = ApiResult<Token>;

#[resilient]
trait Chat {
    #[resilient(stream, first_item = "1s", idle = "200ms", last = is_stop)]
    async fn tokens(&self, prompt: &str) -> ApiResult<impl Stream<Item = Item> + Send + Unpin>;
    #[resilient(stream, idempotent)]
    async fn boxed(&self) -> ApiResult<BoxStream<'static, Item>>;
    #[resilient(stream)]
    async fn borrowed<'a>(
        &'a self,
        word: &'a str,
    ) -> ApiResult<Pin<Box<dyn Stream<Item = ApiResult<&'a str>> + Send + 'a>>>;
    async fn opening_only(&self) -> ApiResult<impl Stream<Item = u8> + Send>;
}

/// Each item comes after its time; then, after a last time, the end or nothing ever.
#[derive(Clone, Default)]
struct Script {
    fake: Fake,
    items: Vec<(u64, Item)>,
    end: Option<u64>,
}

impl Script {
    fn new(items: &[(u64, Item)], end: Option<u64>) -> Self {
        Self {
            fake: Fake::default(),
            items: items.to_vec(),
            end,
        }
    }

    fn play(&self) -> impl Stream<Item = Item> + Send + Unpin + use<> {
        let items = stream::iter(self.items.clone()).then(|(after, item)| async move {
            sleep(MS * u32::try_from(after).unwrap()).await;
            item
        });
        let end = self.end;
        let end = stream::once(async move {
            match end {
                None => std::future::pending::<()>().await,
                Some(after) => sleep(MS * u32::try_from(after).unwrap()).await,
            }
        });
        Box::pin(items.chain(end.filter_map(async |()| None)))
    }
}

impl Chat for Script {
    async fn tokens(&self, _: &str) -> ApiResult<impl Stream<Item = Item> + Send + Unpin> {
        self.fake.hit().await.map(|_| self.play())
    }
    async fn boxed(&self) -> ApiResult<BoxStream<'static, Item>> {
        self.fake.hit().await.map(|_| self.play().boxed())
    }
    async fn borrowed<'a>(
        &'a self,
        word: &'a str,
    ) -> ApiResult<Pin<Box<dyn Stream<Item = ApiResult<&'a str>> + Send + 'a>>> {
        Ok(stream::iter([Ok(word)]).boxed())
    }
    async fn opening_only(&self) -> ApiResult<impl Stream<Item = u8> + Send> {
        Ok(stream::iter([1, 2]))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "an item is a result")]
const fn text(word: &'static str) -> Item {
    Ok(Token::Text(word))
}

const STOP: Item = Ok(Token::Stop);

fn guard(script: &Script) -> (Resilience, ResilientChat<Script>) {
    let resilience = resilience(1);
    let client = script.clone().resilient(&resilience).unwrap();
    (resilience, client)
}

fn counts(resilience: &Resilience) -> (u64, u64, u64) {
    let snapshot = resilience.registry().get("chat").unwrap().snapshot();
    assert_eq!(snapshot.in_flight, 0, "the permit has been given back");
    let counts = snapshot.counts;
    (counts.success, counts.failure, counts.neutral)
}

fn reason(item: Option<&Item>) -> Reason {
    match item {
        Some(Err(error)) => error.rejected().reason().clone(),
        other => panic!("{other:?} is no error"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_stream_is_one_success_at_its_end() {
    let (resilience, client) = guard(&Script::new(
        &[(900, text("a")), (190, text("b")), (190, STOP)],
        Some(0),
    ));
    let mut tokens = client.tokens("x").await.unwrap();
    assert_eq!(tokens.next().await, Some(text("a")));
    let breaker = resilience.registry().get("chat").unwrap();
    assert_eq!(
        breaker.snapshot().in_flight,
        1,
        "the call lasts as long as the stream"
    );
    assert_eq!(tokens.next().await, Some(text("b")));
    assert_eq!(tokens.next().await, Some(STOP));
    assert_eq!(tokens.next().await, None);
    assert_eq!(tokens.next().await, None, "and stays ended");
    assert_eq!(counts(&resilience), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_begins_is_a_failure() {
    let (resilience, client) = guard(&Script::new(&[(5_000, text("late"))], Some(0)));
    let start = Instant::now();
    let items: Vec<_> = client.tokens("x").await.unwrap().collect().await;
    assert_eq!(start.elapsed(), MS * 1_000);
    let expected = Reason::StreamStalled {
        after: MS * 1_000,
        first_item: true,
    };
    assert_eq!((items.len(), reason(items.first())), (1, expected));
    assert_eq!(counts(&resilience), (0, 1, 0));
    assert_eq!(
        resilience.registry().get("chat").unwrap().state(),
        State::Open
    );
    let refused = client.tokens("x").await.err().unwrap();
    assert!(refused.rejected().not_permitted().is_some());
}

#[tokio::test(start_paused = true)]
async fn silence_in_the_middle_is_a_failure() {
    let (resilience, client) = guard(&Script::new(&[(10, text("a")), (10, text("b"))], None));
    let items: Vec<_> = client.tokens("x").await.unwrap().collect().await;
    let expected = Reason::StreamStalled {
        after: MS * 200,
        first_item: false,
    };
    assert_eq!((items.len(), reason(items.last())), (3, expected));
    assert_eq!(counts(&resilience), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_not_silence() {
    let (resilience, client) = guard(&Script::new(&[(10, text("a")), (10, STOP)], Some(0)));
    let mut tokens = client.tokens("x").await.unwrap();
    assert_eq!(tokens.next().await, Some(text("a")));
    sleep(MS * 5_000).await;
    assert_eq!(tokens.next().await, Some(STOP));
    assert_eq!(tokens.next().await, None);
    assert_eq!(counts(&resilience), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_end_without_the_last_item_is_a_truncation() {
    let (resilience, client) = guard(&Script::new(&[(10, text("a"))], Some(0)));
    let items: Vec<_> = client.tokens("x").await.unwrap().collect().await;
    assert_eq!(
        (items.len(), reason(items.last())),
        (2, Reason::StreamTruncated)
    );
    assert_eq!(counts(&resilience), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_inside_is_judged_and_explains_the_end() {
    let (resilience, client) = guard(&Script::new(&[(10, text("a")), (10, Err(DOWN))], Some(0)));
    let items: Vec<_> = client.tokens("x").await.unwrap().collect().await;
    assert_eq!(items.len(), 2, "no truncation on top");
    let Some(Err(ApiError::Down(Some(context)))) = items.last() else {
        panic!("{items:?}")
    };
    assert_eq!(context.operation(), "chat.tokens");
    assert_eq!(counts(&resilience), (0, 1, 0));

    let (resilience, client) = guard(&Script::new(&[(10, Err(ApiError::BadRequest))], Some(0)));
    let items: Vec<_> = client.tokens("x").await.unwrap().collect().await;
    assert_eq!(items, [Err(ApiError::BadRequest)]);
    assert_eq!(counts(&resilience), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_is_neutral() {
    let (resilience, client) = guard(&Script::new(&[(10, text("a")), (10, text("b"))], None));
    let mut tokens = client.tokens("x").await.unwrap();
    assert_eq!(tokens.next().await, Some(text("a")));
    drop(tokens);
    assert_eq!(counts(&resilience), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_at_the_opening_ends_the_stream_without_blame() {
    let (resilience, client) = guard(&Script::new(&[(90, text("a")), (90, text("b"))], None));
    let opening = Deadline::after(MS * 150).scope(client.tokens("x"));
    let items: Vec<_> = opening.await.unwrap().collect().await;
    assert_eq!(
        (items.len(), reason(items.last())),
        (2, Reason::DeadlineExceeded)
    );
    assert_eq!(counts(&resilience), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn boxed_streams_stay_boxed_and_openings_are_repeated() {
    let mut script = Script::new(&[(10, text("a"))], None);
    script.fake = Fake::failing(1);
    let resilience = resilience(2);
    let client = script.clone().resilient(&resilience).unwrap();
    let items: Vec<_> = client.boxed().await.unwrap().collect().await;
    assert_eq!(script.fake.calls(), 2);
    assert_eq!(items.len(), 2);
    assert!(matches!(reason(items.last()), Reason::StreamStalled { .. }));
    assert_eq!(counts(&resilience), (0, 2, 0));
    let stream = client.borrowed("w").await.err();
    assert!(stream.is_some(), "the circuit has opened");
    let (_, client) = guard(&script);
    let words: Vec<_> = client.borrowed("w").await.unwrap().collect().await;
    assert_eq!(words, [Ok("w")]);
}

#[tokio::test]
async fn without_the_option_only_the_opening_counts() {
    let (resilience, client) = guard(&Script::default());
    let stream = client.opening_only().await.unwrap();
    assert_eq!(counts(&resilience), (1, 0, 0));
    assert_eq!(stream.collect::<Vec<_>>().await, [1, 2]);
}

#[tokio::test]
async fn switched_off_streams_are_not_watched() {
    let resilience = Resilience::new(&Registry::disabled("orchestrator"));
    let script = Script::new(&[(0, text("a"))], Some(0));
    let client = script.resilient(&resilience).unwrap();
    let items: Vec<_> = client.tokens("x").await.unwrap().collect().await;
    assert_eq!(items, [text("a")], "not even truncation is noticed");
}

#[tokio::test(start_paused = true)]
async fn a_guarded_stream_may_end_early_and_with_one_item_more() {
    let (_, client) = guard(&Script::default());
    let guarded = client.borrowed("word").await.unwrap();
    assert_eq!(guarded.size_hint(), (0, Some(2)));
    let off = Resilience::new(&Registry::disabled("orchestrator"));
    let client = Script::default().resilient(&off).unwrap();
    let bare = client.borrowed("word").await.unwrap();
    assert_eq!(bare.size_hint(), (1, Some(1)));
}

#[test]
fn what_is_watched_to_its_end_is_told_by_the_method() {
    let is_stream = |name: &str| {
        let mut methods = ResilientChat::<Script>::METHODS.iter();
        methods.find(|m| m.name() == name).unwrap().is_stream()
    };
    assert!(is_stream("tokens") && !is_stream("opening_only"));
}
