// One model for all threads of an application: many_threads MODEL PICTURE...
//
//     c++ -std=c++17 many_threads.cpp $(pkg-config --cflags --libs libvmoe) -pthread -o many_threads
//
// A model does not change after it was loaded, so nothing has to be locked.  Each call gets one
// thread, because the application has its own; lines come in the order of the pictures.
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "read_file.hpp"
#include "vmoe.hpp"

static std::string line_of(const vmoe::model &model, const char *path)
{
    const std::vector<unsigned char> jpeg = read_file(path);
    auto top = model.classify(jpeg, vmoe::options().threads(1).group(1), 1);

    return std::string(path) + ": " +
           (top ? std::to_string((*top)[0].index) + " " + (*top)[0].label : top.error().text());
}

int main(int count, char **arguments)
{
    if (count < 3) {
        std::fprintf(stderr, "usage: many_threads MODEL.vmoe PICTURE.jpg ...\n");
        return 2;
    }
    auto model = vmoe::model::load(arguments[1]);
    if (!model) {
        std::fprintf(stderr, "%s: %s\n", model.error().where(), model.error().text());
        return 1;
    }

    std::vector<std::string> lines(static_cast<std::size_t>(count - 2));
    std::atomic<std::size_t> next{ 0 };
    auto work = [&] {
        for (std::size_t i; (i = next++) < lines.size();)
            lines[i] = line_of(*model, arguments[i + 2]);
    };
    std::vector<std::thread> threads;
    for (unsigned i = 1; i < std::thread::hardware_concurrency(); i++)
        threads.emplace_back(work);
    work();
    for (std::thread &thread : threads)
        thread.join();
    for (const std::string &line : lines)
        std::puts(line.c_str());
    return 0;
}
