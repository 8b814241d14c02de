if(CUTHRESH_SANITIZE)
  add_compile_options(-fsanitize=${CUTHRESH_SANITIZE} -fno-omit-frame-pointer -g
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CUTHRESH_SANITIZE})
endif()
