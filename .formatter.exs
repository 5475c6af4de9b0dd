[
  inputs: ["{mix,.formatter}.exs", "{bench,config,lib,script,test}/**/*.{ex,exs}"]
]
