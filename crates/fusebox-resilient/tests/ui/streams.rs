use std::pin::Pin;

use fusebox_resilient::{Rejected, resilient};
use futures_util::Stream;
use futures_util::stream::Iter;

#[resilient]
trait Unnamed {
    #[resilient(stream)]
    async fn list(&self) -> Result<impl Iterator<Item = u8> + Send, Rejected>;
}

#[resilient]
trait PlainItems {
    #[resilient(stream)]
    async fn list(&self) -> Result<Pin<Box<dyn Stream<Item = u8> + Send>>, Rejected>;
}

#[resilient]
trait Concrete {
    #[resilient(stream)]
    async fn list(&self) -> Result<Iter<std::vec::IntoIter<Result<u8, Rejected>>>, Rejected>;
}

#[resilient]
trait Hedged {
    #[resilient(stream, idempotent, hedge)]
    async fn list(&self) -> Result<Pin<Box<dyn Stream<Item = Result<u8, Rejected>> + Send>>, Rejected>;
}

fn main() {}
