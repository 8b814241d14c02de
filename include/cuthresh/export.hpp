#pragma once

// CTH_API marks what libcuthresh.so shows; everything else is compiled with hidden visibility.
#define CTH_API __attribute__((visibility("default")))
