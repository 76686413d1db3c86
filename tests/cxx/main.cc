// SPDX-License-Identifier: MIT
extern "C" int use();

int main()
{
    return use();
}
