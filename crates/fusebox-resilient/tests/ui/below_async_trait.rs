use fusebox_resilient::{Rejected, resilient};

#[async_trait::async_trait]
#[resilient]
trait Client {
    async fn fetch(&self) -> Result<u8, Rejected>;
}

fn main() {}
