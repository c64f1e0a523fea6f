use fusebox_resilient::{Rejected, resilient};

#[resilient(idempotent)]
trait Client {
    async fn fetch(&self) -> Result<u8, Rejected>;
}

#[resilient]
trait Other {
    #[resilient(name = "other")]
    async fn fetch(&self) -> Result<u8, Rejected>;
    #[resilient(?Send)]
    async fn list(&self) -> Result<u8, Rejected>;
}

fn main() {}
