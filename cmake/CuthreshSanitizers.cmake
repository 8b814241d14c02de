# Line numbers come with the presets' -g1: full debug information makes objects twice as large and a quarter slower to
# compile.
if(CUTHRESH_SANITIZE)
  add_compile_options(-fsanitize=${CUTHRESH_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CUTHRESH_SANITIZE})
endif()
