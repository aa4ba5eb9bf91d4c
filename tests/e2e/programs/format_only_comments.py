

   
# only comments

