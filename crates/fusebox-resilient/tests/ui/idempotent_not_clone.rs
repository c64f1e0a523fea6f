use fusebox_resilient::{Rejected, resilient};

struct Body;

#[resilient]
trait Client {
    #[resilient(idempotent)]
    async fn store(&self, body: Body) -> Result<u8, Rejected>;
}

fn main() {}
