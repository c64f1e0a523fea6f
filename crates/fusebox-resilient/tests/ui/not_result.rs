use fusebox_resilient::resilient;

#[resilient]
trait Client {
    async fn fetch(&self) -> bool;
}

fn main() {}
