// SPDX-License-Identifier: MIT
// C++ out of memory: std::bad_alloc from every throwing operator new, NULL from the others, the new-handler in between.
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

int failures, checks;
unsigned handler_calls;

void check(bool ok, const char *what)
{
	checks++;
	std::printf("%s %s\n", ok ? "ok" : "not ok", what);
	failures += !ok;
}

// Hidden from the compiler, which may leave out allocations it sees through.
volatile std::size_t impossible = static_cast<std::size_t>(-1) / 4;

template <typename Call> bool throws(Call call)
{
	try {
		void *volatile p = call();

		return p == nullptr && false;
	} catch (const std::bad_alloc &) {
		return true;
	}
}

void giving_up()
{
	handler_calls++;
	if (handler_calls % 3 == 0)
		std::set_new_handler(nullptr);
}

void throwing()
{
	throw std::runtime_error("from the handler");
}

struct alignas(256) Aligned {
	char bytes[512];
};

} // namespace

int main()
{
	check(throws([] { return ::operator new(impossible); }), "new throws bad_alloc");
	check(throws([] { return ::operator new[](impossible); }), "new[] throws bad_alloc");
	check(throws([] { return ::operator new(impossible, std::align_val_t(64)); }), "aligned new throws bad_alloc");
	check(throws([] { return ::operator new[](impossible, std::align_val_t(64)); }), "aligned new[] throws bad_alloc");
	check(throws([] { return new char[impossible]; }), "a new expression throws bad_alloc");
	check(::operator new(impossible, std::nothrow) == nullptr, "nothrow new is null");
	check(::operator new[](impossible, std::nothrow) == nullptr, "nothrow new[] is null");
	check(::operator new(impossible, std::align_val_t(64), std::nothrow) == nullptr, "aligned nothrow new is null");
	check(::operator new[](impossible, std::align_val_t(64), std::nothrow) == nullptr, "aligned nothrow new[] is null");

	std::set_new_handler(giving_up);
	check(throws([] { return ::operator new(impossible); }) && handler_calls == 3, "new calls its handler until it ends");
	std::set_new_handler(giving_up);
	check(::operator new(impossible, std::nothrow) == nullptr && handler_calls == 6, "nothrow new calls its handler");
	std::set_new_handler(giving_up);
	check(throws([] { return ::operator new(impossible, std::align_val_t(128)); }) && handler_calls == 9,
	      "aligned new calls its handler");

	std::set_new_handler(throwing);
	bool other = false;
	try {
		void *volatile p = ::operator new(impossible);

		(void)p;
	} catch (const std::runtime_error &e) {
		other = std::string(e.what()) == "from the handler";
	}
	check(other, "what a handler throws arrives");
	std::set_new_handler(nullptr);

	bool thrown = false;
	try {
		std::vector<char> v;

		v.reserve(impossible);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	check(thrown, "a container's allocation throws bad_alloc");

	std::vector<std::string> strings;
	for (int i = 0; i < 10000; i++)
		strings.push_back(std::string(static_cast<std::size_t>(i % 300), 'x'));
	check(strings[299].size() == 299, "all is well afterwards");
	Aligned *aligned = new Aligned[3];
	check(reinterpret_cast<std::size_t>(aligned) % 256 == 0, "aligned types are aligned");
	delete[] aligned;
	delete new Aligned;
	delete[] new (std::nothrow) char[100];
	std::printf("oom_new: %d passed, %d failed, 0 skipped\n", checks - failures, failures);
	return failures != 0 || checks == 0;
}
