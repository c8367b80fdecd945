# What a user of gdb does with a core dump. The exit code is 42 if all values are as expected.

set pagination off
set width 0
set language c

define check
  set $found = $arg0
  if $found != $arg1
    printf "found %#lx, expected %#lx\n", $found, $arg1
    quit 1
  end
end

file guest.elf
core-file core
info registers
backtrace
# The parameters of the function that wrote to an address without memory. Two functions are inlined in it.
up 2
print/x address
check address 8
check (value&0xff) 0x5a
check *(long*)&DEBUG_TOTAL 0
x/i $pc
up
info symbol $pc
quit 42
