// Updates: each bid is answered at once, a bad one is refused and leaves no trace, and the hammer takes its time.
//
//   Auction ──┬── update "bid" ────► validator ──► the highest bid so far
//             └── update "hammer" ─► activity ───► the invoice; then the run ends
#include <marathon/marathon.h>

#include <iostream>

using namespace std::chrono_literals;

struct Bid {
  std::string by;
  int amount = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Bid, by, amount)

inline constexpr marathon::ActivityDef<std::string(Bid)> kInvoice{"Invoice"};
inline constexpr marathon::WorkflowDef<Bid(int)> kAuction{"Auction"};
inline constexpr marathon::UpdateDef<Bid(Bid)> kBid{"bid"};
inline constexpr marathon::UpdateDef<std::string()> kHammer{"hammer"};

marathon::Workflow<Bid> Auction(marathon::WorkflowContext& ctx, int reserve) {
  Bid highest{"nobody", reserve};
  bool sold = false;
  auto bids = ctx.OnUpdate(
      kBid, [&](const Bid& bid) { return highest = bid; },
      [&](const Bid& bid) {  // may only look, and throw
        if (bid.amount > highest.amount) return;
        throw marathon::ApplicationError("bid more than " + std::to_string(highest.amount));
      });
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): `hammer` keeps the lambda
  auto hammer = ctx.OnUpdate(kHammer, [&]() -> marathon::Workflow<std::string> {
    sold = true;
    co_return co_await ctx.Run(kInvoice, highest);
  });
  co_await ctx.WaitUntil([&] { return sold && ctx.AllHandlersFinished(); });
  co_return highest;
}

std::string Invoice(const Bid& bid) { return bid.by + " owes " + std::to_string(bid.amount); }

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kAuction, Auction);
  registry.Bind(kInvoice, Invoice);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  // The first bid opens the auction, in one step. The same update_id would be the same bid.
  auto first = engine->UpdateWithStart(kAuction, 10, kBid, {"Ada", 12}, {.workflow_id = "vase"},
                                       {.update_id = "ada-1"});
  if (!first.ok()) return Complain(first.status());
  const marathon::Run auction = first->run();

  const auto low = auction.Update(kBid, {"Bob", 11});
  std::cout << "Bob: " << low.status().message() << "\n";
  const auto high = auction.Update(kBid, {"Bob", 15});
  if (!high.ok()) return Complain(high.status());
  std::cout << "leading: " << high->by << "\n";

  const auto invoice = auction.Update(kHammer, {.patience = 10s});
  if (!invoice.ok()) return Complain(invoice.status());
  std::cout << *invoice << "\n";
  const auto sold = auction.Result<Bid>(10s);
  if (!sold.ok()) return Complain(sold.status());
  std::cout << "sold for " << sold->amount << "\n";
}
