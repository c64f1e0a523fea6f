use fusebox_resilient::{Rejected, resilient};

fn is_last(_: &u8) -> bool {
    true
}

#[resilient]
trait Client {
    #[resilient(hedge)]
    async fn fetch(&self) -> Result<u8, Rejected>;
    #[resilient(attempts = 3)]
    async fn store(&self) -> Result<u8, Rejected>;
    #[resilient(idle = "3s", last = is_last)]
    async fn list(&self) -> Result<u8, Rejected>;
    #[resilient(skip, breaker = "other")]
    async fn ping(&self) -> bool;
    #[resilient(idempotent)]
    fn label(&self) -> &str;
    #[resilient(breaker = "other")]
    async fn make() -> Result<u8, Rejected>;
}

fn main() {}
