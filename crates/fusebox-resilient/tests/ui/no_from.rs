use fusebox_resilient::resilient;

struct ApiError;

#[resilient]
trait Client {
    async fn fetch(&self) -> Result<u8, ApiError>;
}

fn main() {}
