# What a user of gdb does with a running sandbox, and with the core dump of another one. A value that is not as expected ends gdb, and the
# sandbox does not get its verdict.
#
# In the current directory are guest.elf, the program; gdb, the socket of the stub; and, if $has_core is not 0, core and core.gdb.
# $has_watchpoints tells whether the hypervisor has watchpoints.

set pagination off
set confirm off
set width 0
set language c
# The sandbox attaches after other tests, on an emulated host.
set remotetimeout 7200

define check
  set $found = $arg0
  if $found != $arg1
    printf "found %#lx, expected %#lx\n", $found, $arg1
    quit 1
  end
end

file guest.elf
# Without watchpoints of the hardware, gdb steps.
if !$has_watchpoints
  set can-use-hw-watchpoints 0
end
target remote gdb

# A breakpoint, and the parameter of the function.
break *debug_add
continue
print number
check number 1
check *(long*)&DEBUG_TOTAL 0
info registers
backtrace
check $bpnum 1

# A step.
set $before = $pc
stepi
check ($pc!=$before) 1

# A watchpoint.
watch *(long*)&DEBUG_TOTAL
continue
check *(long*)&DEBUG_TOTAL 1
delete 2

# On to the next call of the function.
continue
print number
check number 2
check *(long*)&DEBUG_TOTAL 1
# The caller is known by the debug information.
up
info symbol $pc
down

if $has_core
  shell gdb-multiarch -nx -batch -x core.gdb
  check $_shell_exitcode 42
end

delete
set var *(long*)&DEBUG_VERDICT = 42
check *(long*)&DEBUG_VERDICT 42
detach
