// What the examples share: a file as bytes, empty if it cannot be read.
#ifndef READ_FILE_HPP
#define READ_FILE_HPP

#include <fstream>
#include <iterator>
#include <vector>

inline std::vector<unsigned char> read_file(const char *path)
{
    std::ifstream file(path, std::ios::binary);

    return { std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>() };
}

#endif
