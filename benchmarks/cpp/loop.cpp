// The limit of an event loop: coroutines that do nothing but wait, in a heap of (time, key).
//
//     loop PROCESSES DELAYS    ->    cpu seconds; on stderr the time at which the last one ended
//
// Times are integers, ties go by the key, and each process has its own delay, as in the contestants in Python.
#include <coroutine>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <utility>
#include <vector>

struct Process {
    struct promise_type {
        std::int64_t delay = 0;
        Process get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        std::suspend_always yield_value(std::int64_t picoseconds) noexcept {
            delay = picoseconds;
            return {};
        }
        void return_void() noexcept {}
        void unhandled_exception() { std::terminate(); }
    };
    std::coroutine_handle<promise_type> frame;
};

struct Entry {
    std::int64_t time;
    std::uint64_t key;
    std::coroutine_handle<Process::promise_type> frame;
    bool before(const Entry& other) const { return time != other.time ? time < other.time : key < other.key; }
};

class Loop {
public:
    void start(Process process) {
        heap_.push_back({0, key_++, process.frame});  // in order already: all at 0, by key
    }

    void run() {
        while (!heap_.empty()) {
            Entry& top = heap_.front();
            now_ = top.time;
            top.frame.resume();
            if (top.frame.done()) {
                top.frame.destroy();
                top = heap_.back();
                heap_.pop_back();
            } else {
                top.time = now_ + top.frame.promise().delay;
                top.key = key_++;
            }
            sink();
        }
    }

    std::int64_t now() const { return now_; }

private:
    void sink() {
        const std::size_t size = heap_.size();
        if (size < 2) return;
        const Entry moved = heap_[0];
        std::size_t place = 0;
        for (std::size_t child = 1; child < size; child = 2 * place + 1) {
            if (child + 1 < size && heap_[child + 1].before(heap_[child])) child++;
            if (!heap_[child].before(moved)) break;
            heap_[place] = heap_[child];
            place = child;
        }
        heap_[place] = moved;
    }

    std::vector<Entry> heap_;
    std::int64_t now_ = 0;
    std::uint64_t key_ = 0;
};

Process body(std::int64_t delay, long times) {
    for (long done = 0; done < times; done++) co_yield delay;
}

int main(int count, char** words) {
    if (count != 3) return 2;
    const long processes = std::atol(words[1]), delays = std::atol(words[2]);
    Loop loop;
    for (long number = 0; number < processes; number++)
        loop.start(body(1000 + number * 7919 % 997, delays / processes));
    const std::clock_t start = std::clock();
    loop.run();
    std::printf("%.6f\n", double(std::clock() - start) / CLOCKS_PER_SEC);
    std::fprintf(stderr, "%lld\n", (long long)loop.now());
}
