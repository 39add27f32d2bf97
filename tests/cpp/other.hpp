// What the second translation unit of the test offers.
#ifndef OTHER_HPP
#define OTHER_HPP

#include "vmoe.hpp"

std::uint32_t classes_elsewhere(const vmoe::model &model);

#endif
