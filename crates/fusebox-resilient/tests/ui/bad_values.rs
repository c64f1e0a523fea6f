use fusebox_resilient::{Rejected, resilient};

#[resilient]
trait Client {
    #[resilient(attempt_timeout = "3")]
    async fn one(&self) -> Result<u8, Rejected>;
    #[resilient(total_timeout = 3)]
    async fn two(&self) -> Result<u8, Rejected>;
    #[resilient(idempotent, attempts = 0)]
    async fn three(&self) -> Result<u8, Rejected>;
    #[resilient(breaker = "")]
    async fn four(&self) -> Result<u8, Rejected>;
    #[resilient(skip, skip)]
    async fn five(&self) -> Result<u8, Rejected>;
    #[resilient(skip)]
    #[resilient(breaker = "x")]
    async fn six(&self) -> Result<u8, Rejected>;
}

fn main() {}
