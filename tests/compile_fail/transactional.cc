// expect: this callable does not take what the ActivityDef says
// Transactional activities that are none.
#include <string>
#include <vector>

#include "marathon/adapters/sqlite_transaction.h"
#include "marathon/marathon.h"

using marathon::sqlite::Transaction;
using marathon::sqlite::Transactional;

constexpr marathon::ActivityDef<int(std::string)> kLength{"Length"};

int Length(Transaction&, const std::string& text) { return static_cast<int>(text.size()); }

void Good(marathon::Registry& registry) {
  registry.Bind(kLength, Transactional(Length));
  registry.Bind("Nothing", Transactional([](marathon::ActivityContext&, Transaction&) {}));
}

#ifdef CASE_input
void Bad(marathon::Registry& registry) {
  registry.Bind(kLength, Transactional([](Transaction&, std::vector<int>) { return 1; }));
}
#endif
#ifdef CASE_no_transaction
void Bad(marathon::Registry& registry) {
  registry.Bind(kLength, Transactional([](const std::string&) { return 1; }));
}
#endif
#ifdef CASE_asynchronous  // expect: a transactional activity ends when it returns
void Bad(marathon::Registry& registry) {
  registry.Bind(kLength, Transactional([](Transaction&, const std::string&, marathon::ActivityCompletion<int>) {}));
}
#endif
#ifdef CASE_column  // expect: a column is an integer, a real or a std::string
void Bad(Transaction& tx) { static_cast<void>(tx.One<std::vector<int>>("SELECT 1")); }
#endif
