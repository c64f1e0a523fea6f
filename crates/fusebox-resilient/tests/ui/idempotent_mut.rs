use fusebox_resilient::{Rejected, resilient};

#[resilient]
trait Client {
    #[resilient(idempotent)]
    async fn store(&mut self) -> Result<u8, Rejected>;
    #[resilient(idempotent)]
    async fn close(self) -> Result<u8, Rejected>;
}

fn main() {}
