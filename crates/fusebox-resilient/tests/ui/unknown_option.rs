use fusebox_resilient::{Rejected, resilient};

#[resilient(nme = "client", colour = "red")]
trait Other {
    async fn fetch(&self) -> Result<u8, Rejected>;
}

#[resilient]
trait Client {
    #[resilient(idempotant)]
    async fn fetch(&self) -> Result<u8, Rejected>;
    #[resilient(retries = 3)]
    async fn list(&self) -> Result<u8, Rejected>;
    #[resilient(colour = "red")]
    async fn paint(&self) -> Result<u8, Rejected>;
}

fn main() {}
