# SPDX-License-Identifier: MIT
#
# docs/FORMAT.md is what format_doc prints. Cure of a difference: build update_format_doc.
execute_process(COMMAND ${GENERATOR} OUTPUT_FILE ${GENERATED} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND diff -u ${COMMITTED} ${GENERATED} RESULT_VARIABLE differs)
if(NOT differs EQUAL 0)
  message(FATAL_ERROR "docs/FORMAT.md differs from the code: build the target update_format_doc")
endif()
